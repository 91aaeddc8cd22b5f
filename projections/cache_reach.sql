-- How much of a call's input an earlier one may have had at its beginning, if a cache keeps it for a while.  Portable.
--
-- Calls of a chain that begin no later than {lifetime_us} after the end of any before are one run: what a cache took
-- in it may still be there.  A beginning that two calls have in common is at most the smaller of their inputs, so a
-- call has at most as much in common with those before it in its run as the largest of them has.  What it did read
-- from or write to a cache comes first, up to base_tokens; behind it plain input may have been read from one up to
-- top_tokens.  {write_costs_pico} is what writing a token to the cache costs above its plain price.
SELECT
    s.place AS place,
    s.chain AS chain,
    s.run AS run,
    s.cached_tokens AS base_tokens,
    CASE
        WHEN s.common_tokens < s.minimum_tokens OR s.common_tokens < s.cached_tokens THEN s.cached_tokens
        WHEN s.common_tokens < s.cached_tokens + s.plain_tokens THEN s.common_tokens
        ELSE s.cached_tokens + s.plain_tokens
    END AS top_tokens,
    s.read_saves_pico AS read_saves_pico,
    s.write_costs_pico AS write_costs_pico
FROM (
    SELECT
        r.place AS place,
        r.chain AS chain,
        r.run AS run,
        r.plain_tokens AS plain_tokens,
        r.cached_tokens AS cached_tokens,
        r.minimum_tokens AS minimum_tokens,
        r.read_saves_pico AS read_saves_pico,
        r.write_costs_pico AS write_costs_pico,
        CASE
            WHEN r.input_tokens < r.largest_tokens THEN r.input_tokens
            ELSE COALESCE(r.largest_tokens, 0)
        END AS common_tokens
    FROM (
        SELECT
            n.place AS place,
            n.chain AS chain,
            n.run AS run,
            n.input_tokens AS input_tokens,
            n.plain_tokens AS plain_tokens,
            n.cached_tokens AS cached_tokens,
            n.minimum_tokens AS minimum_tokens,
            n.read_saves_pico AS read_saves_pico,
            n.write_costs_pico AS write_costs_pico,
            MAX(n.input_tokens) OVER (
                PARTITION BY n.chain, n.run ORDER BY n.started_us, n.writer, n.seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS largest_tokens
        FROM (
            SELECT
                g.place AS place,
                g.chain AS chain,
                g.writer AS writer,
                g.seq AS seq,
                g.started_us AS started_us,
                g.input_tokens AS input_tokens,
                g.plain_tokens AS plain_tokens,
                g.cached_tokens AS cached_tokens,
                g.minimum_tokens AS minimum_tokens,
                g.read_saves_pico AS read_saves_pico,
                g.write_costs_pico AS write_costs_pico,
                SUM(g.begins) OVER (
                    PARTITION BY g.chain ORDER BY g.started_us, g.writer, g.seq
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) AS run
            FROM (
                SELECT
                    c.place AS place,
                    c.chain AS chain,
                    c.writer AS writer,
                    c.seq AS seq,
                    c.started_us AS started_us,
                    c.input_tokens AS input_tokens,
                    c.plain_tokens AS plain_tokens,
                    c.cached_tokens AS cached_tokens,
                    c.minimum_tokens AS minimum_tokens,
                    c.read_saves_pico AS read_saves_pico,
                    c.{write_costs_pico} AS write_costs_pico,
                    CASE
                        WHEN c.started_us <= {lifetime_us} + MAX(c.ended_us) OVER (
                            PARTITION BY c.chain ORDER BY c.started_us, c.writer, c.seq
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                        )
                            THEN 0
                        ELSE 1
                    END AS begins
                FROM cache_call AS c
            ) AS g
        ) AS n
    ) AS r
) AS s
