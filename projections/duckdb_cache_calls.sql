-- The calls between which a cache is supposed, with their input, and its prices at their time.  DuckDB only.
--
-- A call without input, or without a prompt, is none of them.  Chains are found by {same}: the named columns, and the
-- others of cache_chain, are not distinct; {condition} says which calls.
CREATE OR REPLACE TEMP TABLE cache_call AS
SELECT
    k.place AS place,
    k.chain AS chain,
    c.writer AS writer,
    c.seq AS seq,
    c.started_us AS started_us,
    c.started_us + 1000 * COALESCE(c.duration_ms, 0) AS ended_us,
    p.input_total AS input_tokens,
    p.input_uncached AS plain_tokens,
    p.cached_tokens AS cached_tokens,
    CAST(COALESCE(m.tokens, '0') AS BIGINT) AS minimum_tokens,
    p.plain_pico - p.read_pico AS read_saves_pico,
    COALESCE(p.write_5m_pico, p.plain_pico) - p.plain_pico AS write_5m_costs_pico,
    COALESCE(p.write_1h_pico, p.plain_pico) - p.plain_pico AS write_1h_costs_pico
FROM call_fact AS c
INNER JOIN cache_price AS p ON p.writer = c.writer AND p.seq = c.seq
INNER JOIN cache_chain AS k ON {same}
LEFT JOIN cache_minimum AS m
    ON m.provider = c.provider
    AND m.model = c.model
    AND m.answered = COALESCE(c.response_model, '')
WHERE c.prompt IS NOT NULL AND p.input_total > 0 AND {condition}
