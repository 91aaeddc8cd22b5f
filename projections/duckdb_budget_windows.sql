-- One row a window of a budget in which anything was counted, as the guard has it.  DuckDB only.
CREATE OR REPLACE VIEW budget_windows AS
SELECT
    name AS name,
    budget_id AS budget_id,
    CAST("group" AS JSON) AS "group",
    CAST(window_from AS TIMESTAMPTZ) AS window_from,
    CAST(window_to AS TIMESTAMPTZ) AS window_to,
    CAST(limit_usd AS DECIMAL(38, 12)) AS limit_usd,
    CAST(spent_usd AS DECIMAL(38, 12)) AS spent_usd,
    CAST(calls_usd AS DECIMAL(38, 12)) AS calls_usd,
    CAST(lost_usd AS DECIMAL(38, 12)) AS lost_usd,
    CAST(resolved_usd AS DECIMAL(38, 12)) AS resolved_usd,
    CAST(unpriced_usd AS DECIMAL(38, 12)) AS unpriced_usd,
    CAST(adjustments_usd AS DECIMAL(38, 12)) AS adjustments_usd,
    CAST(open_usd AS DECIMAL(38, 12)) AS open_usd,
    CAST(left_usd AS DECIMAL(38, 12)) AS left_usd,
    CAST(calls AS BIGINT) AS calls,
    CAST(unpriced_calls AS BIGINT) AS unpriced_calls,
    CAST(unknown_calls AS BIGINT) AS unknown_calls,
    CAST(lost_holds AS BIGINT) AS lost_holds,
    CAST(open_holds AS BIGINT) AS open_holds
FROM budget_window_text
