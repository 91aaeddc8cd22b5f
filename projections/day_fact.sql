-- One row a UTC day that has calls.  Portable.
--
-- 62135596800000000 is the number of microseconds, whole days, from the year 1 to 1970: what is before 1970 must not
-- be rounded towards it.
SELECT
    c.started_us - (c.started_us + 62135596800000000) % 86400000000 AS day_us,
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
FROM call_fact AS c
GROUP BY c.started_us - (c.started_us + 62135596800000000) % 86400000000
