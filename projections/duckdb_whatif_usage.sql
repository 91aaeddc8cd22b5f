-- The usage of calls as it would be under a hypothesis, in the shape of usage_line.  DuckDB only.
--
-- whatif_key says by which provider, model and context each kind of call would be priced, and how many tokens of text
-- there would be for 10000, at least and at most.  {end} says which of the two is counted, {plus} rounds: 0 down, 9999
-- up.  {size} is the size of the request, which may be another than the counts' own, for a price tier in between.
-- apart is 1 for calls whose tokens cannot be told, 2 for terms that are not offered: these are not priced.
-- {no_cache} counts what a cache had as input, {started_us} is when it would be, [{from_us}, {to_us}) when it was.
CREATE OR REPLACE TEMP MACRO whatif_tokens(tokens, parts, plus) AS
    -- In two steps, so that no product passes 64 bits.
    (tokens // 10000) * parts + ((tokens % 10000) * parts + plus) // 10000;
CREATE OR REPLACE TEMP VIEW {view} AS
SELECT
    s.* EXCLUDE (least_size, most_size),
    {size} AS input_total
FROM (
    SELECT
        c.writer AS writer,
        c.seq AS seq,
        c.reported_pico AS reported_pico,
        c.provider AS provider,
        c.model AS model,
        c.answered AS answered,
        c.context AS context,
        c.apart AS apart,
        {started_us} AS started_us,
        c.week_us AS week_us,
        whatif_tokens(c.input_uncached, c.{end}, {plus}) AS input_uncached,
        whatif_tokens(c.cache_read, c.{end}, {plus}) AS cache_read,
        whatif_tokens(c.cache_write_5m, c.{end}, {plus}) AS cache_write_5m,
        whatif_tokens(c.cache_write_1h, c.{end}, {plus}) AS cache_write_1h,
        c.input_audio AS input_audio,
        c.cache_read_audio AS cache_read_audio,
        c.input_image AS input_image,
        c.input_video AS input_video,
        whatif_tokens(c.output_text, c.{end}, {plus}) AS output_text,
        whatif_tokens(c.output_reasoning, c.{end}, {plus}) AS output_reasoning,
        c.output_audio AS output_audio,
        c.output_image AS output_image,
        c.output_video AS output_video,
        c.input_audio_ms AS input_audio_ms,
        c.input_pages AS input_pages,
        c.input_chars AS input_chars,
        c.web_searches AS web_searches,
        c.file_searches AS file_searches,
        c.requests AS requests,
        whatif_tokens(c.input_uncached, c.least, 0) + whatif_tokens(c.cache_read, c.least, 0)
            + whatif_tokens(c.cache_write_5m, c.least, 0) + whatif_tokens(c.cache_write_1h, c.least, 0)
            + c.input_audio + c.cache_read_audio + c.input_image + c.input_video AS least_size,
        whatif_tokens(c.input_uncached, c.most, 9999) + whatif_tokens(c.cache_read, c.most, 9999)
            + whatif_tokens(c.cache_write_5m, c.most, 9999) + whatif_tokens(c.cache_write_1h, c.most, 9999)
            + c.input_audio + c.cache_read_audio + c.input_image + c.input_video AS most_size
    FROM (
        SELECT
            c.* REPLACE (
                k.provider AS provider,
                k.model AS model,
                k.answered AS answered,
                k.context AS context,
                CASE
                    WHEN {no_cache} THEN c.input_uncached + c.cache_read + c.cache_write_5m + c.cache_write_1h
                    ELSE c.input_uncached
                END AS input_uncached,
                CASE WHEN {no_cache} THEN 0 ELSE c.cache_read END AS cache_read,
                CASE WHEN {no_cache} THEN 0 ELSE c.cache_write_5m END AS cache_write_5m,
                CASE WHEN {no_cache} THEN 0 ELSE c.cache_write_1h END AS cache_write_1h,
                CASE WHEN {no_cache} THEN c.input_audio + c.cache_read_audio ELSE c.input_audio END AS input_audio,
                CASE WHEN {no_cache} THEN 0 ELSE c.cache_read_audio END AS cache_read_audio
            ),
            k.least AS least,
            k.most AS most,
            -- Sound, images and video have tokens that no tokenizer of text makes.
            CASE
                WHEN k.not_offered = 1 THEN 2
                WHEN k.converted = 1 AND c.input_audio + c.cache_read_audio + c.input_image + c.input_video
                    + c.output_audio + c.output_image + c.output_video > 0
                    THEN 1
                ELSE 0
            END AS apart
        FROM usage_line AS c
        INNER JOIN whatif_key AS k
            ON k.asked_provider = c.provider
            AND k.asked_model = c.model
            AND k.asked_answered = c.answered
            AND k.asked_context = c.context
        WHERE c.started_us >= {from_us} AND c.started_us < {to_us}
    ) AS c
) AS s;
