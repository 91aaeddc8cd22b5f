-- Lines of calls at the costs that were recorded.  DuckDB only.
CREATE OR REPLACE VIEW call_line AS
SELECT
    c.* REPLACE (
        CAST(NULL AS VARCHAR) AS repriced_state,
        CAST(NULL AS DECIMAL(38, 0)) AS repriced_pico,
        CAST(NULL AS BIGINT) AS rate_id,
        CAST(NULL AS VARCHAR) AS reprice_id
    )
FROM loaded_line AS c
