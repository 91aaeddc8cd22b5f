-- What a cache would have saved at most, by row of the report, in picodollars.  Portable.
--
-- Each place in the input of a run stands for itself.  Reading it from the cache saves, for every call that has it
-- within reach, what a token of that call costs less so.  Behind what any call of the run did have in a cache it must
-- be written once, at the least that any of them would have paid.  So the saving steps up where a call's reach begins,
-- down where it ends, and is counted from step to step, where there is any.
SELECT
    t.place AS place,
    SUM(
        CASE
            WHEN t.pico > 0
                THEN CAST(t.pico AS DECIMAL(19, 0)) * CAST(t.next_tokens - t.at_tokens AS DECIMAL(18, 0))
            ELSE 0
        END
    ) AS saved_pico
FROM (
    SELECT
        e.place AS place,
        e.at_tokens AS at_tokens,
        SUM(e.pico) OVER (
            PARTITION BY e.chain, e.run ORDER BY e.at_tokens ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS pico,
        MIN(e.at_tokens) OVER (
            PARTITION BY e.chain, e.run ORDER BY e.at_tokens ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING
        ) AS next_tokens
    FROM (
        SELECT
            s.place AS place,
            s.chain AS chain,
            s.run AS run,
            s.at_tokens AS at_tokens,
            SUM(s.pico) AS pico
        FROM (
            SELECT
                r.place AS place,
                r.chain AS chain,
                r.run AS run,
                r.base_tokens AS at_tokens,
                r.read_saves_pico AS pico
            FROM cache_reach AS r
            WHERE r.top_tokens > r.base_tokens AND r.read_saves_pico > 0
            UNION ALL
            SELECT
                r.place AS place,
                r.chain AS chain,
                r.run AS run,
                r.top_tokens AS at_tokens,
                -r.read_saves_pico AS pico
            FROM cache_reach AS r
            WHERE r.top_tokens > r.base_tokens AND r.read_saves_pico > 0
            UNION ALL
            SELECT
                w.place AS place,
                w.chain AS chain,
                w.run AS run,
                w.had_tokens AS at_tokens,
                -w.write_costs_pico AS pico
            FROM cache_write AS w
            UNION ALL
            SELECT
                w.place AS place,
                w.chain AS chain,
                w.run AS run,
                w.top_tokens AS at_tokens,
                w.write_costs_pico AS pico
            FROM cache_write AS w
        ) AS s
        GROUP BY
            s.place,
            s.chain,
            s.run,
            s.at_tokens
    ) AS e
) AS t
GROUP BY
    t.place
