-- Estimates that a report is over, and what came of each.  DuckDB only.
--
-- {columns} are the named columns, each as column_<n>; the times are those of the estimates.
SELECT
    {columns}
    e.estimated_us AS estimated_us,
    e.outcome AS outcome,
    e.answer AS answer,
    e.calls AS calls,
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
    e.actual_pico AS actual_pico
FROM estimate_fact AS e
WHERE {condition}
ORDER BY e.estimated_us, e.id
