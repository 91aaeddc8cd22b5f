-- The budgets that stand, one row each: what people see as `budgets`.  DuckDB only.
CREATE OR REPLACE VIEW budgets AS
SELECT
    name AS name,
    id AS id,
    action AS action,
    CAST(limit_usd AS DECIMAL(38, 12)) AS limit_usd,
    CAST(set_limit_usd AS DECIMAL(38, 12)) AS set_limit_usd,
    period AS period,
    timezone AS timezone,
    week_start AS week_start,
    CAST("where" AS JSON) AS "where",
    CAST(warn_percent AS BIGINT[]) AS warn_percent,
    hold AS hold,
    on_lost AS on_lost,
    unpriced AS unpriced,
    CAST(unpriced_usd_per_million AS DECIMAL(38, 12)) AS unpriced_usd_per_million
FROM budget_text
