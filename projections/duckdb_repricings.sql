-- One row a reprice, whether it stands or was taken back: what people see as `repricings`.  DuckDB only.
CREATE OR REPLACE VIEW repricings AS
SELECT
    id AS id,
    CAST(applied_at AS TIMESTAMPTZ) AS applied_at,
    writer AS writer,
    book AS book,
    CAST(selector AS JSON) AS selector,
    CAST(changed_calls AS BIGINT) AS changed_calls,
    CAST(before_usd AS DECIMAL(38, 12)) AS before_usd,
    CAST(after_usd AS DECIMAL(38, 12)) AS after_usd,
    CAST(after_usd AS DECIMAL(38, 12)) - CAST(before_usd AS DECIMAL(38, 12)) AS difference_usd,
    CAST(reverted_at AS TIMESTAMPTZ) AS reverted_at,
    actor AS actor,
    reason AS reason
FROM repricing_text
