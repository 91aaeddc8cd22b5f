-- Estimated calls that were answered, the newest first: what was counted for each, what it was billed, and what
-- had been stated.  DuckDB only.
--
-- Only what was counted in the same way ($3) can be learned from.
SELECT
    e.counted_tokens AS counted_tokens,
    c.input_tokens AS input_tokens,
    c.prompt AS prompt,
    c.prompt_version AS prompt_version,
    e.input_p5_tokens AS input_p5_tokens,
    e.input_p50_tokens AS input_p50_tokens,
    e.input_p95_tokens AS input_p95_tokens
FROM call_fact AS c
INNER JOIN estimate_line AS e ON e.id = c.estimate_id
WHERE
    c.provider = $1 AND c.model = $2 AND e.method = $3 AND e.calls = 1
    AND c.status = 'ok' AND c.quality = 'measured' AND c.input_tokens > 0
    AND {condition}
ORDER BY c.started_us DESC, c.id DESC
LIMIT {limit}
