-- What of a run must have been written to a cache, so that all that may have been read from it could be: from what any
-- of its calls did have in one, up to the farthest that any could have read, at the least price of any.  Portable.
SELECT
    w.place AS place,
    w.chain AS chain,
    w.run AS run,
    w.had_tokens AS had_tokens,
    w.top_tokens AS top_tokens,
    w.write_costs_pico AS write_costs_pico
FROM (
    SELECT
        r.place AS place,
        r.chain AS chain,
        r.run AS run,
        MAX(r.base_tokens) AS had_tokens,
        MAX(CASE WHEN r.top_tokens > r.base_tokens AND r.read_saves_pico > 0 THEN r.top_tokens END) AS top_tokens,
        MIN(r.write_costs_pico) AS write_costs_pico
    FROM cache_reach AS r
    GROUP BY
        r.place,
        r.chain,
        r.run
) AS w
WHERE w.top_tokens > w.had_tokens
