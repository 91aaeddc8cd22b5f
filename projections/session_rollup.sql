-- Sums of counted calls by session and by the columns that a report names.  Portable.
--
-- Placeholders as in slot.sql.  Of usr, project and prompt there are the least and greatest value and how many
-- calls have one, so that sums of sums can still tell whether all calls of a session have the same.
SELECT
    c.session AS period,
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
    MIN(c.started_us) AS first_us,
    MAX(c.started_us) AS last_us,
    MIN(c.usr) AS usr_min,
    MAX(c.usr) AS usr_max,
    COUNT(c.usr) AS usr_count,
    MIN(c.project) AS project_min,
    MAX(c.project) AS project_max,
    COUNT(c.project) AS project_count,
    MIN(c.prompt) AS prompt_min,
    MAX(c.prompt) AS prompt_max,
    COUNT(c.prompt) AS prompt_count
FROM call_fact AS c
WHERE {condition}
GROUP BY
    {groups}
    c.session
