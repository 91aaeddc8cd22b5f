-- Calls whose counting or cost differs between the worlds of a correction, with how often each counts.  DuckDB only.
--
-- {parts} are the calls of each world with its weight.  A line of a call has the same attributes in every world, so only
-- whether it counts and what it costs can differ; what is the same in all worlds cancels out.
CREATE OR REPLACE TEMP TABLE correction_call AS
SELECT * EXCLUDE (place, total) REPLACE (total AS weight)
FROM (
    SELECT
        *,
        SUM(weight) OVER same AS total,
        ROW_NUMBER() OVER same_in_order AS place
    FROM (
    {parts}
    )
    WINDOW
        same AS (PARTITION BY correction, writer, seq, cost_state, cost_pico),
        same_in_order AS (PARTITION BY correction, writer, seq, cost_state, cost_pico ORDER BY weight)
)
WHERE total <> 0 AND place = 1
