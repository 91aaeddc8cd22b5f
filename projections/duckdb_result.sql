-- Sums that tell what `covered` costs, by writer and state, in whatever order its rows come.  DuckDB only.
--
-- The last sum ties each cost to its line; 4611686018427387903 is 2^62 - 1, so that it stays within 128 bits.  Hashing
-- a text of each line instead would take as long as pricing it.
SELECT
    p.writer AS writer,
    p.state AS state,
    COUNT(*) AS calls,
    SUM(p.seq) AS seqs,
    COALESCE(SUM(p.pico), 0) AS pico,
    COALESCE(SUM(CAST(p.seq AS HUGEINT) * (CAST(p.pico AS HUGEINT) & 4611686018427387903)), 0) AS placed_pico
FROM covered AS p
GROUP BY p.writer, p.state
