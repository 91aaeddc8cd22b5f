-- Calls under a hypothesis by month and by the columns that a report names: those that can be compared, what they cost
-- and what they would cost, and how many cannot.  Portable.
--
-- The calendar has UTC days, cut where local days begin.  {columns} and {groups} are the named columns, {month} the
-- join with the calendar where months are among the rows.
SELECT
    {columns}
    COUNT(CASE WHEN c.reason IS NULL THEN 1 END) AS calls,
    COUNT(c.reason) AS apart_calls,
    SUM(CASE WHEN c.reason IS NULL THEN c.actual_pico ELSE 0 END) AS actual_pico,
    SUM(CASE WHEN c.reason IS NULL THEN c.low_pico ELSE 0 END) AS low_pico,
    SUM(CASE WHEN c.reason IS NULL THEN c.high_pico ELSE 0 END) AS high_pico
FROM whatif_call AS c
{month}
{groups}
