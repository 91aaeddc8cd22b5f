-- Of the calls that were counted anew, those that cost something else thereby, and by how much in all.  DuckDB only.
--
-- {accepted} says which prices are taken.
SELECT
    COUNT(CASE WHEN p.state <> t.state OR p.pico IS DISTINCT FROM t.pico THEN 1 END) AS calls,
    COALESCE(SUM(COALESCE(p.pico, 0) - COALESCE(t.pico, 0)), 0) AS difference
FROM counted_anew AS p
LEFT JOIN counted_then AS t ON t.writer = p.writer AND t.seq = p.seq
LEFT JOIN uncounted_line AS u ON u.writer = p.writer AND u.seq = p.seq
WHERE u.reason IS NULL AND {accepted}
