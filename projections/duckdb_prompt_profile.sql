-- The tokens of a prompt's answered calls, by the provider and model that was called.  DuckDB only.
--
-- {condition} says which calls.  A call whose usage is not known, or that failed, tells nothing of the prompt.  A
-- quantile is a count that was seen: the least that at least this share of the calls do not exceed.
SELECT
    c.provider AS provider,
    c.model AS model,
    COUNT(*) AS calls,
    QUANTILE_DISC(c.input_tokens, 0.5) AS input_p50,
    QUANTILE_DISC(c.input_tokens, 0.9) AS input_p90,
    QUANTILE_DISC(c.output_tokens, 0.5) AS output_p50,
    QUANTILE_DISC(c.output_tokens, 0.9) AS output_p90,
    CAST(SUM(c.input_tokens) AS BIGINT) AS input_total,
    CAST(SUM(c.cache_read_input_tokens) AS BIGINT) AS cache_read_total,
    CAST(SUM(c.cache_creation_input_tokens) AS BIGINT) AS cache_write_total,
    CAST(SUM(c.output_tokens) AS BIGINT) AS output_total,
    CAST(SUM(c.reasoning_output_tokens) AS BIGINT) AS reasoning_total
FROM call_fact AS c
WHERE c.status = 'ok' AND c.input_tokens + c.output_tokens > 0 AND {condition}
GROUP BY c.provider, c.model
ORDER BY calls DESC, c.provider, c.model
