-- One row a line of calls that does not cost what was recorded, and bucket of its cost; as cost_line.  DuckDB only.
--
-- `rate` has the prices by which it was priced.  What costs what was reported has one line of the bucket `reported`.
CREATE OR REPLACE VIEW repriced_cost_line AS
SELECT
    id AS id,
    writer AS writer,
    seq AS seq,
    place AS place,
    line.bucket AS bucket,
    CAST(line.quantity AS DECIMAL(19, 0)) AS quantity,
    CAST(CAST(line.pico AS HUGEINT) * 1000000 AS DECIMAL(38, 0)) AS pico_per_million,
    CAST(CAST(line.quantity AS HUGEINT) * line.pico AS DECIMAL(38, 0)) AS pico
FROM (
    SELECT
        u.id AS id,
        u.writer AS writer,
        u.seq AS seq,
        UNNEST([
            {'bucket': 'input_uncached', 'quantity': u.input_uncached, 'pico': r.input_uncached},
            {'bucket': 'cache_read', 'quantity': u.cache_read, 'pico': r.cache_read},
            {'bucket': 'cache_write_5m', 'quantity': u.cache_write_5m, 'pico': r.cache_write_5m},
            {'bucket': 'cache_write_1h', 'quantity': u.cache_write_1h, 'pico': r.cache_write_1h},
            {'bucket': 'input_audio', 'quantity': u.input_audio, 'pico': r.input_audio},
            {'bucket': 'cache_read_audio', 'quantity': u.cache_read_audio, 'pico': r.cache_read_audio},
            {'bucket': 'input_image', 'quantity': u.input_image, 'pico': r.input_image},
            {'bucket': 'input_video', 'quantity': u.input_video, 'pico': r.input_video},
            {'bucket': 'output_text', 'quantity': u.output_text, 'pico': r.output_text},
            {'bucket': 'output_reasoning', 'quantity': u.output_reasoning, 'pico': r.output_reasoning},
            {'bucket': 'output_audio', 'quantity': u.output_audio, 'pico': r.output_audio},
            {'bucket': 'output_image', 'quantity': u.output_image, 'pico': r.output_image},
            {'bucket': 'output_video', 'quantity': u.output_video, 'pico': r.output_video},
            {'bucket': 'input_audio_ms', 'quantity': u.input_audio_ms, 'pico': r.input_audio_ms},
            {'bucket': 'input_pages', 'quantity': u.input_pages, 'pico': r.input_pages},
            {'bucket': 'input_chars', 'quantity': u.input_chars, 'pico': r.input_chars},
            {'bucket': 'web_searches', 'quantity': u.web_searches, 'pico': r.web_searches},
            {'bucket': 'file_searches', 'quantity': u.file_searches, 'pico': r.file_searches},
            {'bucket': 'requests', 'quantity': u.requests, 'pico': r.requests}
        ]) AS line,
        GENERATE_SUBSCRIPTS(RANGE(19), 1) AS place
    FROM usage_line AS u
    INNER JOIN (
        SELECT writer, seq, rate_id FROM call_line WHERE repriced_state IN ('priced', 'unpriced')
    ) AS c ON c.writer = u.writer AND c.seq = u.seq
    LEFT JOIN rate AS r ON r.rate_id = c.rate_id
)
WHERE line.quantity > 0 AND (line.bucket <> 'requests' OR line.pico IS NOT NULL)
UNION ALL
SELECT
    id AS id,
    writer AS writer,
    seq AS seq,
    1 AS place,
    'reported' AS bucket,
    CAST(1 AS DECIMAL(19, 0)) AS quantity,
    CAST(NULL AS DECIMAL(38, 0)) AS pico_per_million,
    repriced_pico AS pico
FROM call_line
WHERE repriced_state = 'reported'
