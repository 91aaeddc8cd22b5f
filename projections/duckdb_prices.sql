-- The prices of the newest book, one row a layer, cell and bucket: what people see as `prices`.  DuckDB only.
CREATE OR REPLACE VIEW prices AS
SELECT
    CAST(strength AS BIGINT) AS strength,
    layer AS layer,
    kind AS kind,
    provider AS provider,
    model AS model,
    context AS context,
    bucket AS bucket,
    CAST(usd_per_million AS DECIMAL(38, 12)) AS usd_per_million,
    MAKE_TIMESTAMPTZ(CAST(valid_from_us AS BIGINT)) AS valid_from,
    MAKE_TIMESTAMPTZ(CAST(valid_to_us AS BIGINT)) AS valid_to,
    CAST(minute_from AS BIGINT) AS minute_from,
    CAST(minute_to AS BIGINT) AS minute_to,
    weekdays AS weekdays,
    CAST(input_over AS BIGINT) AS input_over,
    source AS source,
    CAST(date AS DATE) AS date,
    carried_from AS carried_from
FROM price_text
