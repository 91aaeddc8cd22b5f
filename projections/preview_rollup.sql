-- Sums of preview_sum.  Portable.
--
-- {columns} are the columns that rows are split by, {grouping} the GROUP BY that goes with them, {month} a join with the
-- months of a zone where one of them is the month.
SELECT
    {columns}
    COALESCE(SUM(p.calls), 0) AS calls,
    COALESCE(SUM(p.changed_calls), 0) AS changed_calls,
    COALESCE(SUM(p.newly_priced), 0) AS newly_priced,
    COALESCE(SUM(p.newly_unpriced), 0) AS newly_unpriced,
    COALESCE(SUM(p.before_costed), 0) AS before_costed,
    COALESCE(SUM(p.after_costed), 0) AS after_costed,
    COALESCE(SUM(p.before_pico), 0) AS before_pico,
    COALESCE(SUM(p.after_pico), 0) AS after_pico
FROM preview_sum AS p
{month}
{grouping}
