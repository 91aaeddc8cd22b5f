-- Sums that tell what `covered` costs, by writer and state, in whatever order its rows come.  DuckDB only.
--
-- The last sum ties each cost to its line; 2305843009213693951 is 2^61 - 1, so that it stays within 128 bits.  Hashing a
-- text of each line instead would take three times as long as pricing it.
SELECT
    p.writer AS writer,
    p.state AS state,
    CAST(COUNT(*) AS VARCHAR) AS calls,
    CAST(SUM(p.seq) AS VARCHAR) AS seqs,
    CAST(COALESCE(SUM(CAST(p.pico AS HUGEINT)), 0) AS VARCHAR) AS pico,
    CAST(
        COALESCE(SUM(CAST(p.seq AS HUGEINT) * (CAST(p.pico AS HUGEINT) % 2305843009213693951)), 0) AS VARCHAR
    ) AS placed_pico
FROM covered AS p
GROUP BY p.writer, p.state
