-- Sums of counted calls by slots of time and by the columns that a report names.  Portable.
--
-- A slot is {slot_us} long, which divides a day; 62135596800000000 is the number of microseconds, whole days, from the
-- year 1 to 1970, without which what is before 1970 would be rounded towards it.  {columns} and {groups} are the
-- named columns, each as column_<n>, {fact} has the calls.
SELECT
    c.started_us - (c.started_us + 62135596800000000) % {slot_us} AS slot_us,
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
    SUM(c.cost_pico) AS cost_pico
FROM {fact} AS c
WHERE {condition}
GROUP BY
    {groups}
    c.started_us - (c.started_us + 62135596800000000) % {slot_us}
