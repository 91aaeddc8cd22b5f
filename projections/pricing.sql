-- What calls cost by the rates of one book: one row a call of {usage}, exact, in picodollars.  Portable.
--
-- A rate holds in half-open spans of time and of the week (from Monday 0:00 UTC), and for sizes of requests; no two of
-- a key meet, so a call finds one or none.  Where a used bucket has no price, the call has none: what was reported for
-- it stands, else it is unpriced.  {condition} says which calls, {carrying} names more of them, {carried} hands it on.
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
            WHEN (c.input_uncached > 0 AND r.input_uncached IS NULL)
            OR (c.cache_read > 0 AND r.cache_read IS NULL)
            OR (c.cache_write_5m > 0 AND r.cache_write_5m IS NULL)
            OR (c.cache_write_1h > 0 AND r.cache_write_1h IS NULL)
            OR (c.input_audio > 0 AND r.input_audio IS NULL)
            OR (c.cache_read_audio > 0 AND r.cache_read_audio IS NULL)
            OR (c.input_image > 0 AND r.input_image IS NULL)
            OR (c.input_video > 0 AND r.input_video IS NULL)
            OR (c.output_text > 0 AND r.output_text IS NULL)
            OR (c.output_reasoning > 0 AND r.output_reasoning IS NULL)
            OR (c.output_audio > 0 AND r.output_audio IS NULL)
            OR (c.output_image > 0 AND r.output_image IS NULL)
            OR (c.output_video > 0 AND r.output_video IS NULL)
            OR (c.input_audio_ms > 0 AND r.input_audio_ms IS NULL)
            OR (c.input_pages > 0 AND r.input_pages IS NULL)
            OR (c.input_chars > 0 AND r.input_chars IS NULL)
            OR (c.web_searches > 0 AND r.web_searches IS NULL)
            OR (c.file_searches > 0 AND r.file_searches IS NULL)
                THEN 1
            ELSE 0
        END AS missing,
        CAST(c.input_uncached AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_uncached, 0) AS DECIMAL(18, 0))
                + CAST(c.cache_read AS DECIMAL(19, 0)) * CAST(COALESCE(r.cache_read, 0) AS DECIMAL(18, 0))
                + CAST(c.cache_write_5m AS DECIMAL(19, 0)) * CAST(COALESCE(r.cache_write_5m, 0) AS DECIMAL(18, 0))
                + CAST(c.cache_write_1h AS DECIMAL(19, 0)) * CAST(COALESCE(r.cache_write_1h, 0) AS DECIMAL(18, 0))
                + CAST(c.input_audio AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_audio, 0) AS DECIMAL(18, 0))
                + CAST(c.cache_read_audio AS DECIMAL(19, 0)) * CAST(COALESCE(r.cache_read_audio, 0) AS DECIMAL(18, 0))
                + CAST(c.input_image AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_image, 0) AS DECIMAL(18, 0))
                + CAST(c.input_video AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_video, 0) AS DECIMAL(18, 0))
                + CAST(c.output_text AS DECIMAL(19, 0)) * CAST(COALESCE(r.output_text, 0) AS DECIMAL(18, 0))
                + CAST(c.output_reasoning AS DECIMAL(19, 0)) * CAST(COALESCE(r.output_reasoning, 0) AS DECIMAL(18, 0))
                + CAST(c.output_audio AS DECIMAL(19, 0)) * CAST(COALESCE(r.output_audio, 0) AS DECIMAL(18, 0))
                + CAST(c.output_image AS DECIMAL(19, 0)) * CAST(COALESCE(r.output_image, 0) AS DECIMAL(18, 0))
                + CAST(c.output_video AS DECIMAL(19, 0)) * CAST(COALESCE(r.output_video, 0) AS DECIMAL(18, 0))
                + CAST(c.input_audio_ms AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_audio_ms, 0) AS DECIMAL(18, 0))
                + CAST(c.input_pages AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_pages, 0) AS DECIMAL(18, 0))
                + CAST(c.input_chars AS DECIMAL(19, 0)) * CAST(COALESCE(r.input_chars, 0) AS DECIMAL(18, 0))
                + CAST(c.web_searches AS DECIMAL(19, 0)) * CAST(COALESCE(r.web_searches, 0) AS DECIMAL(18, 0))
                + CAST(c.file_searches AS DECIMAL(19, 0)) * CAST(COALESCE(r.file_searches, 0) AS DECIMAL(18, 0))
                + CAST(c.requests AS DECIMAL(19, 0)) * CAST(COALESCE(r.requests, 0) AS DECIMAL(18, 0)) AS pico
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
