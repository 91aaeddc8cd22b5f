-- Single estimates, the newest first, and what came of each.  DuckDB only.
SELECT
    e.id AS id,
    e.estimated_us AS estimated_us,
    e.origin AS origin,
    e.provider AS provider,
    e.model AS model,
    e.prompt AS prompt,
    e.prompt_version AS prompt_version,
    e.session AS session,
    e.usr AS usr,
    e.project AS project,
    e.method AS method,
    e.answer AS answer,
    e.outcome AS outcome,
    e.calls AS calls,
    COALESCE(e.actual_calls, 0) AS actual_calls,
    e.input_p5_tokens AS input_p5_tokens,
    e.input_p50_tokens AS input_p50_tokens,
    e.input_p95_tokens AS input_p95_tokens,
    e.actual_input_tokens AS actual_input_tokens,
    e.output_p50_tokens AS output_p50_tokens,
    e.output_p90_tokens AS output_p90_tokens,
    e.output_max_tokens AS output_max_tokens,
    e.actual_output_tokens AS actual_output_tokens,
    e.cost_p50_pico AS cost_p50_pico,
    e.cost_p90_pico AS cost_p90_pico,
    e.cost_max_pico AS cost_max_pico,
    e.actual_pico AS actual_pico
FROM estimate_fact AS e
WHERE {condition}
ORDER BY e.estimated_us DESC, e.id DESC
LIMIT {limit}
