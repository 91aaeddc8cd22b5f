-- Calls whose plain input a cache may have had, of how many of these no cache price is known, and how much that is.
-- By row of the report.  Portable.
SELECT
    r.place AS place,
    COUNT(*) AS repeating_calls,
    COUNT(CASE WHEN r.read_saves_pico > 0 THEN NULL ELSE 1 END) AS no_cache_price_calls,
    SUM(r.top_tokens - r.base_tokens) AS repeated_tokens
FROM cache_reach AS r
WHERE r.top_tokens > r.base_tokens
GROUP BY
    r.place
