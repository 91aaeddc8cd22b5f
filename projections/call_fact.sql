-- One row a call that counts: its first line, unless voided or shadowed.  Portable.
--
-- cost_* is the cost under the basis `current`, recorded_* as it was computed at the call.  They differ once
-- events that reprice calls are read; none are in this release.
SELECT
    c.id AS id,
    c.writer AS writer,
    c.seq AS seq,
    c.started_us AS started_us,
    c.status AS status,
    c.duration_ms AS duration_ms,
    c.run AS run,
    c.session AS session,
    c.prompt AS prompt,
    c.prompt_version AS prompt_version,
    c.statement AS statement,
    c.client AS client,
    c.client_call_id AS client_call_id,
    c.provider AS provider,
    c.model AS model,
    c.response_model AS response_model,
    c.http_status AS http_status,
    c.error_type AS error_type,
    c.usr AS usr,
    c.project AS project,
    c.team AS team,
    c.cost_center AS cost_center,
    c.usr AS recorded_usr,
    c.project AS recorded_project,
    c.team AS recorded_team,
    c.cost_center AS recorded_cost_center,
    c.tags AS tags,
    c.origin AS origin,
    c.quality AS quality,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    c.cache_read_input_tokens AS cache_read_input_tokens,
    c.cache_creation_input_tokens AS cache_creation_input_tokens,
    c.reasoning_output_tokens AS reasoning_output_tokens,
    c.cost_state AS cost_state,
    c.cost_pico AS cost_pico,
    c.cost_state AS recorded_state,
    c.cost_pico AS recorded_pico,
    c.reported_pico AS reported_pico
FROM call_line AS c
LEFT JOIN uncounted_line AS u ON u.writer = c.writer AND u.seq = c.seq
WHERE u.reason IS NULL
