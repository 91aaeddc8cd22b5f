-- The lines of calls that do not cost what was recorded, a list a call; amounts are picodollars.  DuckDB only.
SELECT
    l.writer AS writer,
    l.seq AS seq,
    LIST(
        {
            'bucket': l.bucket,
            'quantity': CAST(l.quantity AS BIGINT),
            'pico_per_million': CAST(l.pico_per_million AS HUGEINT),
            'pico': CAST(l.pico AS HUGEINT)
        }
        ORDER BY l.place
    ) AS lines
FROM repriced_cost_line AS l
GROUP BY l.writer, l.seq
