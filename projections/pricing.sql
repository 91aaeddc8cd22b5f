-- What calls cost by the rates of one book: one row a call of {usage}, exact, in picodollars.  Portable.
--
-- A rate holds in half-open spans of time and of the week (from Monday 0:00 UTC), and for sizes of requests; no two of
-- a key meet, so a call finds one or none.  Where a used bucket has no price, the call has none: what was reported for
-- it stands, else it is unpriced.  {missing} and {products} are over the buckets that are used at all: of nineteen most
-- journals use six.  {condition} says which calls, {carrying} names more of them, {carried} hands it on.
SELECT
    {carried}
    p.writer AS writer,
    p.seq AS seq,
    p.rate_id AS rate_id,
    CASE WHEN p.missing = 0 THEN 'priced' WHEN p.reported_pico IS NULL THEN 'unpriced' ELSE 'reported' END AS state,
    CASE WHEN p.missing = 0 THEN p.pico ELSE p.reported_pico END AS pico
FROM (
    SELECT
        {carrying}
        c.writer AS writer,
        c.seq AS seq,
        c.reported_pico AS reported_pico,
        r.rate_id AS rate_id,
        CASE
            WHEN {missing}
                THEN 1
            ELSE 0
        END AS missing,
        {products} AS pico
    FROM {usage} AS c
    LEFT JOIN rate_key AS k
        ON k.provider = c.provider
        AND k.model = c.model
        AND k.answered = c.answered
        AND k.context = c.context
    LEFT JOIN book_rate AS r
        ON r.rate_key = k.rate_key
        AND c.started_us >= r.valid_from_us
        AND c.started_us < r.valid_to_us
        AND c.week_us >= r.week_from_us
        AND c.week_us < r.week_to_us
        AND c.input_total > r.input_over
        AND c.input_total <= r.input_to
    WHERE {condition}
) AS p
