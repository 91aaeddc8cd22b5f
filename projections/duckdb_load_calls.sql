-- Lines of calls, from journal bytes whose hashes were checked, as rows of call_lines.  DuckDB only.
--
-- The variable `files` lists the files, `normalizer` is the version of this release's normaliser.  Columns are
-- explicit: nothing is inferred, and a line that cannot be read raises an error instead of becoming NULLs.  Money
-- comes as text, for JSON numbers would pass through a double.  A test holds the columns to the event models and the
-- buckets to data/buckets.toml.
SELECT
    id AS id,
    SUBSTR(source, 11) AS writer,
    COALESCE(seq, error('a call without seq')) AS seq,
    COALESCE(tick, error('a call without tick')) AS tick,
    type AS type,
    EPOCH_US(COALESCE(time, error('a call without time'))) AS time_us,
    EPOCH_US(COALESCE(data.started_at, error('a call without started_at'))) AS started_us,
    COALESCE(data.input_sha256, error('a call without input_sha256')) AS input_sha256,
    COALESCE(data.status, error('a call without status')) AS status,
    data.duration_ms AS duration_ms,
    data.run AS run,
    data.session AS session,
    data.prompt AS prompt,
    data.prompt_version AS prompt_version,
    data.statement AS statement,
    data.client AS client,
    data.client_call_id AS client_call_id,
    COALESCE(data.provider, error('a call without provider')) AS provider,
    COALESCE(data.model, error('a call without model')) AS model,
    data.response_model AS response_model,
    data.http_status AS http_status,
    data.error_type AS error_type,
    data."user" AS usr,
    data.project AS project,
    data.team AS team,
    data.cost_center AS cost_center,
    data.os_user AS os_user,
    data.tags AS tags,
    COALESCE(data.origin, error('a call without origin')) AS origin,
    data.call_keys AS call_keys,
    data.estimate_id AS estimate_id,
    COALESCE(data.quality, error('a call without quality')) AS quality,
    COALESCE(data.usage.input_uncached, 0) + COALESCE(data.usage.cache_read, 0)
        + COALESCE(data.usage.cache_write_5m, 0) + COALESCE(data.usage.cache_write_1h, 0)
        + COALESCE(data.usage.input_audio, 0) + COALESCE(data.usage.cache_read_audio, 0)
        + COALESCE(data.usage.input_image, 0) + COALESCE(data.usage.input_video, 0) AS input_tokens,
    COALESCE(data.usage.output_text, 0) + COALESCE(data.usage.output_reasoning, 0)
        + COALESCE(data.usage.output_audio, 0) + COALESCE(data.usage.output_image, 0)
        + COALESCE(data.usage.output_video, 0) AS output_tokens,
    COALESCE(data.usage.cache_read, 0) + COALESCE(data.usage.cache_read_audio, 0) AS cache_read_input_tokens,
    COALESCE(data.usage.cache_write_5m, 0) + COALESCE(data.usage.cache_write_1h, 0)
        AS cache_creation_input_tokens,
    COALESCE(data.usage.output_reasoning, 0) AS reasoning_output_tokens,
    COALESCE(data.cost.state, error('a call without cost.state')) AS cost_state,
    -- Whole dollars followed by exactly twelve decimals are a number of picodollars.  (DuckDB 1.5 takes 25 us to read
    -- a DECIMAL(38,0) from text, a HUGEINT 0.2 us.)
    CAST(
        CASE
            WHEN REGEXP_FULL_MATCH(data.cost.total_usd, '-?[0-9]{1,15}(\.[0-9]{1,12})?')
                THEN CAST(
                    SPLIT_PART(data.cost.total_usd, '.', 1)
                    || RPAD(SPLIT_PART(data.cost.total_usd, '.', 2), 12, '0')
                    AS HUGEINT
                )
            WHEN data.cost.total_usd IS NOT NULL THEN error('cost.total_usd is no money')
        END AS DECIMAL(38, 0)
    ) AS cost_pico,
    CAST(
        CASE
            WHEN REGEXP_FULL_MATCH(data.reported_cost_usd, '-?[0-9]{1,15}(\.[0-9]{1,12})?')
                THEN CAST(
                    SPLIT_PART(data.reported_cost_usd, '.', 1)
                    || RPAD(SPLIT_PART(data.reported_cost_usd, '.', 2), 12, '0')
                    AS HUGEINT
                )
            WHEN data.reported_cost_usd IS NOT NULL THEN error('reported_cost_usd is no money')
        END AS DECIMAL(38, 0)
    ) AS reported_pico,
    data.cost.lines AS cost_lines,
    -- Usage that is not known, and that of a refusal, is no structure of nothings: so it is found without its columns.
    CASE
        WHEN COALESCE(
            data.usage.input_uncached, data.usage.cache_read, data.usage.cache_write_5m, data.usage.cache_write_1h,
            data.usage.input_audio, data.usage.cache_read_audio, data.usage.input_image, data.usage.input_video,
            data.usage.output_text, data.usage.output_reasoning, data.usage.output_audio, data.usage.output_image,
            data.usage.output_video, data.usage.input_audio_ms, data.usage.input_pages, data.usage.input_chars,
            data.usage.web_searches, data.usage.file_searches, data.usage.requests
        ) IS NOT NULL THEN data.usage
    END AS usage,
    CAST(data.pricing_context AS VARCHAR) AS pricing_context,
    data.normalizer AS normalizer,
    -- Only what another normaliser counted is ever counted again.
    CASE WHEN data.normalizer < getvariable('normalizer') THEN data.usage_raw END AS usage_raw,
    CASE WHEN data.normalizer < getvariable('normalizer') THEN data.usage_format END AS usage_format,
    -- What reprices make of it; see duckdb_repriced.sql.
    CAST(NULL AS VARCHAR) AS repriced_state,
    CAST(NULL AS DECIMAL(38, 0)) AS repriced_pico,
    CAST(NULL AS BIGINT) AS rate_id,
    CAST(NULL AS VARCHAR) AS reprice_id
FROM read_json(
    getvariable('files'),
    format = 'newline_delimited',
    columns = {
        id: 'UUID',
        source: 'VARCHAR',
        type: 'VARCHAR',
        v: 'BIGINT',
        time: 'TIMESTAMP',
        seq: 'BIGINT',
        tick: 'BIGINT',
        data: 'STRUCT(
            input_sha256 VARCHAR,
            status VARCHAR,
            started_at TIMESTAMP,
            duration_ms BIGINT,
            run VARCHAR,
            session VARCHAR,
            prompt VARCHAR,
            prompt_version VARCHAR,
            statement VARCHAR,
            client VARCHAR,
            client_call_id VARCHAR,
            provider VARCHAR,
            model VARCHAR,
            response_model VARCHAR,
            http_status BIGINT,
            error_type VARCHAR,
            "user" VARCHAR,
            project VARCHAR,
            team VARCHAR,
            cost_center VARCHAR,
            os_user VARCHAR,
            tags MAP(VARCHAR, VARCHAR),
            origin VARCHAR,
            call_keys VARCHAR[],
            estimate_id VARCHAR,
            quality VARCHAR,
            usage STRUCT(
                input_uncached BIGINT,
                cache_read BIGINT,
                cache_write_5m BIGINT,
                cache_write_1h BIGINT,
                input_audio BIGINT,
                cache_read_audio BIGINT,
                input_image BIGINT,
                input_video BIGINT,
                output_text BIGINT,
                output_reasoning BIGINT,
                output_audio BIGINT,
                output_image BIGINT,
                output_video BIGINT,
                input_audio_ms BIGINT,
                input_pages BIGINT,
                input_chars BIGINT,
                web_searches BIGINT,
                file_searches BIGINT,
                requests BIGINT
            ),
            usage_raw VARCHAR,
            usage_format VARCHAR,
            normalizer BIGINT,
            pricing_context JSON,
            cost STRUCT(
                state VARCHAR,
                total_usd VARCHAR,
                lines STRUCT(bucket VARCHAR, quantity BIGINT, usd_per_million VARCHAR, usd VARCHAR)[]
            ),
            reported_cost_usd VARCHAR
        )'
    }
)
WHERE type IN ('call.completed', 'call.failed') AND v = 1
