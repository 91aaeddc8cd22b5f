-- The counted calls that a reprice covers, before and after.  DuckDB only.
--
-- {accepted} says which prices are taken; the others stay as they are.
CREATE OR REPLACE TABLE preview AS
SELECT
    p.writer AS writer,
    p.seq AS seq,
    p.started_us AS started_us,
    p.provider AS provider,
    p.model AS model,
    p.project AS project,
    p.before_state AS before_state,
    p.before_pico AS before_pico,
    CASE WHEN {accepted} THEN p.state ELSE p.before_state END AS after_state,
    CASE WHEN {accepted} THEN p.pico ELSE p.before_pico END AS after_pico,
    CASE WHEN {accepted} THEN 0 ELSE 1 END AS kept
FROM covered AS p
LEFT JOIN uncounted_line AS u ON u.writer = p.writer AND u.seq = p.seq
WHERE u.reason IS NULL
