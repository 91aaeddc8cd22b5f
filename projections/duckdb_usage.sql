-- One row a line of {lines} whose usage can be priced, by bucket.  DuckDB only.
--
-- renormalized holds what the normaliser that the variable `normalizer` names makes of the lines that an older one
-- counted.  A line that a newer one counted is left out: it may have buckets that are not known here.  So is one of
-- which no usage is known, and a refusal, which costs nothing by any prices.
CREATE OR REPLACE VIEW usage_line AS
SELECT
    c.* EXCLUDE (usage),
    COALESCE(c.response_model, '') AS answered,
    COALESCE(c.pricing_context, '') AS context,
    (c.started_us + 62135596800000000) % 604800000000 AS week_us,
    COALESCE(c.usage.input_uncached, 0) + COALESCE(c.usage.cache_read, 0)
        + COALESCE(c.usage.cache_write_5m, 0) + COALESCE(c.usage.cache_write_1h, 0)
        + COALESCE(c.usage.input_audio, 0) + COALESCE(c.usage.cache_read_audio, 0)
        + COALESCE(c.usage.input_image, 0) + COALESCE(c.usage.input_video, 0) AS input_total,
    COALESCE(c.usage.input_uncached, 0) AS input_uncached,
    COALESCE(c.usage.cache_read, 0) AS cache_read,
    COALESCE(c.usage.cache_write_5m, 0) AS cache_write_5m,
    COALESCE(c.usage.cache_write_1h, 0) AS cache_write_1h,
    COALESCE(c.usage.input_audio, 0) AS input_audio,
    COALESCE(c.usage.cache_read_audio, 0) AS cache_read_audio,
    COALESCE(c.usage.input_image, 0) AS input_image,
    COALESCE(c.usage.input_video, 0) AS input_video,
    COALESCE(c.usage.output_text, 0) AS output_text,
    COALESCE(c.usage.output_reasoning, 0) AS output_reasoning,
    COALESCE(c.usage.output_audio, 0) AS output_audio,
    COALESCE(c.usage.output_image, 0) AS output_image,
    COALESCE(c.usage.output_video, 0) AS output_video,
    COALESCE(c.usage.input_audio_ms, 0) AS input_audio_ms,
    COALESCE(c.usage.input_pages, 0) AS input_pages,
    COALESCE(c.usage.input_chars, 0) AS input_chars,
    COALESCE(c.usage.web_searches, 0) AS web_searches,
    COALESCE(c.usage.file_searches, 0) AS file_searches,
    COALESCE(c.usage.requests, 0) AS requests
FROM (
    SELECT * FROM {lines}
    WHERE normalizer <= getvariable('normalizer') AND (usage_raw IS NULL OR normalizer = getvariable('normalizer'))
    UNION ALL
    SELECT c.* REPLACE (r.usage AS usage, r.pricing_context AS pricing_context)
    FROM {lines} AS c
    INNER JOIN renormalized AS r ON r.writer = c.writer AND r.seq = c.seq
) AS c
WHERE c.usage IS NOT NULL
