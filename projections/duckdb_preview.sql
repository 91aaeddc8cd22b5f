-- What a reprice changes, by months, rate key, project, writer and state, over lines that count and others.  DuckDB
-- only.
--
-- The inner statement prices the calls that are covered and carries what is told of them; {accepted} says which prices
-- are taken, the others stay as they are.  The last three sums are those of duckdb_result.sql.  One pass: a million
-- rows are never written down, and what they are grouped by are small numbers wherever it can be.
SELECT
    p.month AS month,
    p.utc_month AS utc_month,
    p.rate_key AS rate_key,
    p.project AS project,
    p.writer_place AS writer_place,
    p.state AS state,
    u.reason IS NULL AS counts,
    COUNT(*) AS calls,
    COUNT(CASE WHEN {accepted} AND (p.before_state <> p.state OR p.before_pico <> p.pico) THEN 1 END) AS changed_calls,
    COUNT(CASE WHEN {accepted} AND p.before_state = 'unpriced' AND p.state = 'priced' THEN 1 END) AS newly_priced,
    COUNT(CASE WHEN {accepted} AND p.before_state <> 'unpriced' AND p.state = 'unpriced' THEN 1 END) AS newly_unpriced,
    COUNT(CASE WHEN NOT ({accepted}) AND p.before_pico IS NOT NULL THEN 1 END) AS kept_calls,
    COUNT(p.before_pico) AS before_costed,
    COUNT(CASE WHEN {accepted} THEN p.pico ELSE p.before_pico END) AS after_costed,
    COALESCE(SUM(p.before_pico), 0) AS before_pico,
    COALESCE(SUM(CASE WHEN {accepted} THEN p.pico ELSE p.before_pico END), 0) AS after_pico,
    COALESCE(SUM(CASE WHEN {accepted} AND p.before_state = 'unpriced' THEN p.pico END), 0) AS newly_priced_pico,
    SUM(p.seq) AS seqs,
    COALESCE(SUM(p.pico), 0) AS pico,
    COALESCE(SUM(CAST(p.seq AS HUGEINT) * (CAST(p.pico AS HUGEINT) & 4611686018427387903)), 0) AS placed_pico
FROM ({priced}) AS p
LEFT JOIN uncounted_line AS u ON u.writer = p.writer AND u.seq = p.seq
GROUP BY ALL
