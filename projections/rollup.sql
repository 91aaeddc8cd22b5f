-- Sums of slots by the periods of a calendar and by the columns that a report names.  Portable.
--
-- The calendar has UTC days, cut where local days begin; no slot crosses a cut.  {columns} are the named columns.
SELECT
    d.label AS period,
    {columns}
    SUM(s.calls) AS calls,
    SUM(s.failed_calls) AS failed_calls,
    SUM(s.unknown_calls) AS unknown_calls,
    SUM(s.unpriced_calls) AS unpriced_calls,
    SUM(s.costed_calls) AS costed_calls,
    SUM(s.input_tokens) AS input_tokens,
    SUM(s.output_tokens) AS output_tokens,
    SUM(s.cache_read_input_tokens) AS cache_read_input_tokens,
    SUM(s.cache_creation_input_tokens) AS cache_creation_input_tokens,
    SUM(s.reasoning_output_tokens) AS reasoning_output_tokens,
    SUM(s.cost_pico) AS cost_pico
FROM slot AS s
INNER JOIN calendar AS d
    ON d.utc_day_us = s.slot_us - (s.slot_us + 62135596800000000) % 86400000000
    AND s.slot_us >= d.start_us
    AND s.slot_us < d.end_us
GROUP BY
    {columns}
    d.label
