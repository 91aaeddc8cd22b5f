-- One row a session, and one without a name for the calls of none.  Portable.
--
-- usr, project, prompt and model stand where all calls of the session have the same.
SELECT
    c.session AS session,
    MIN(c.started_us) AS first_us,
    MAX(c.started_us) AS last_us,
    CASE WHEN COUNT(c.usr) = COUNT(*) AND MIN(c.usr) = MAX(c.usr) THEN MIN(c.usr) END AS usr,
    CASE WHEN COUNT(c.project) = COUNT(*) AND MIN(c.project) = MAX(c.project) THEN MIN(c.project) END AS project,
    CASE WHEN COUNT(c.prompt) = COUNT(*) AND MIN(c.prompt) = MAX(c.prompt) THEN MIN(c.prompt) END AS prompt,
    CASE WHEN MIN(c.model) = MAX(c.model) THEN MIN(c.model) END AS model,
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
GROUP BY c.session
