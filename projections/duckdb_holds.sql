-- One row a hold that no cost has settled: open, lost, resolved, or of a call that nobody can price.  DuckDB only.
CREATE OR REPLACE VIEW holds AS
SELECT
    hold_id AS id,
    call_id AS call_id,
    state AS state,
    CAST(started_at AS TIMESTAMPTZ) AS started_at,
    provider AS provider,
    model AS model,
    CAST(amount_usd AS DECIMAL(38, 12)) AS amount_usd,
    CAST(resolved_usd AS DECIMAL(38, 12)) AS resolved_usd,
    CAST(budgets AS VARCHAR[]) AS budgets,
    cause AS cause,
    CAST(pid AS BIGINT) AS pid,
    writer AS writer
FROM hold_text
