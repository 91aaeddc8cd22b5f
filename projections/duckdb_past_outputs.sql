-- Answered calls of a model, the newest first: tokens of input, how many of them a cache gave, and of output.  DuckDB
-- only.
SELECT
    input_tokens AS input_tokens,
    cache_read_input_tokens AS cache_read_input_tokens,
    output_tokens AS output_tokens
FROM call_fact AS c
WHERE
    c.provider = $1 AND c.model = $2
    AND c.status = 'ok' AND c.quality = 'measured' AND c.input_tokens + c.output_tokens > 0
    AND {condition}
ORDER BY c.started_us DESC, c.id DESC
LIMIT {limit}
