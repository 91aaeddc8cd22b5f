-- Calls whose counting or cost differs between the worlds of a correction, with how often each counts.  DuckDB only.
--
-- {keys} are the lines of calls of each world with its weight, {calls} the same with everything that is known of them.
-- A line has the same attributes in every world, so only whether it counts and what it costs can differ; what is the
-- same in all worlds cancels out.
CREATE OR REPLACE TEMP TABLE correction_call AS
WITH net AS (
    SELECT correction, writer, seq, cost_state, cost_pico, SUM(weight) AS total
    FROM ({keys})
    GROUP BY correction, writer, seq, cost_state, cost_pico
    HAVING SUM(weight) <> 0
)
SELECT * EXCLUDE (place, total) REPLACE (total AS weight)
FROM (
    SELECT
        c.*,
        n.total AS total,
        ROW_NUMBER() OVER (PARTITION BY c.correction, c.writer, c.seq, c.cost_state, c.cost_pico) AS place
    FROM ({calls}) AS c
    INNER JOIN net AS n
        ON n.correction = c.correction
        AND n.writer = c.writer
        AND n.seq = c.seq
        AND n.cost_state = c.cost_state
        AND n.cost_pico IS NOT DISTINCT FROM c.cost_pico
)
WHERE place = 1
