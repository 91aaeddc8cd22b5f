-- What a report of efficiency divides, by the columns that it names.  Portable.
--
-- The first sums are those of rollup.sql, in its order.  A quotient is over calls that have a cost, so what it divides
-- by is summed over these alone.  {columns} are the named columns, each as column_<n>, {groups} the same.
SELECT
    {columns}
    COUNT(*) AS calls,
    COUNT(CASE WHEN c.status = 'error' THEN 1 END) AS failed_calls,
    COUNT(CASE WHEN c.status = 'unknown' THEN 1 END) AS unknown_calls,
    COUNT(CASE WHEN c.cost_state = 'unpriced' THEN 1 END) AS unpriced_calls,
    COUNT(c.cost_pico) AS costed_calls,
    SUM(c.input_tokens) AS input_tokens,
    SUM(c.output_tokens) AS output_tokens,
    SUM(c.cache_read_input_tokens) AS cache_read_input_tokens,
    SUM(c.cache_creation_input_tokens) AS cache_creation_input_tokens,
    SUM(c.reasoning_output_tokens) AS reasoning_output_tokens,
    SUM(c.cost_pico) AS cost_pico,
    COUNT(CASE WHEN c.status = 'ok' THEN 1 END) AS successful_calls,
    COUNT(CASE WHEN c.status = 'ok' THEN c.cost_pico END) AS costed_successes,
    SUM(CASE WHEN c.cost_pico IS NULL THEN 0 ELSE c.output_tokens END) AS costed_output_tokens,
    COUNT(c.duration_ms) AS timed_calls,
    SUM(COALESCE(c.duration_ms, 0)) AS duration_ms,
    COUNT(CASE WHEN c.prompt IS NULL THEN 1 END) AS promptless_calls
FROM call_fact AS c
WHERE {condition}
GROUP BY
    {groups}
