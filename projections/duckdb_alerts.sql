-- One row a threshold that was crossed: what people see as `alerts`.  DuckDB only.
CREATE OR REPLACE VIEW alerts AS
SELECT
    id AS id,
    CAST(raised_at AS TIMESTAMPTZ) AS raised_at,
    name AS name,
    budget_id AS budget_id,
    CAST(threshold_percent AS BIGINT) AS threshold_percent,
    CAST(limit_usd AS DECIMAL(38, 12)) AS limit_usd,
    CAST(spent_usd AS DECIMAL(38, 12)) AS spent_usd,
    CAST("group" AS JSON) AS "group",
    CAST(window_from AS TIMESTAMPTZ) AS window_from,
    CAST(window_to AS TIMESTAMPTZ) AS window_to,
    call_id AS call_id,
    writer AS writer
FROM alert_text
