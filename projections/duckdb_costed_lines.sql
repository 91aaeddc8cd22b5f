-- Lines of calls with the costs of one basis in place of those that they were loaded with.  DuckDB only.
--
-- {costs} has one row a line that does not cost what was recorded: its state, picodollars, the rate and the reprice.
CREATE OR REPLACE VIEW call_line AS
SELECT
    c.* REPLACE (
        r.repriced_state AS repriced_state,
        r.repriced_pico AS repriced_pico,
        r.rate_id AS rate_id,
        r.reprice_id AS reprice_id
    )
FROM loaded_line AS c
LEFT JOIN {costs} AS r ON r.writer = c.writer AND r.seq = c.seq
