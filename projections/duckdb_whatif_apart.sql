-- The calls that cannot be compared, by reason and model, with what they would have been priced as.  DuckDB only.
SELECT
    c.reason AS reason,
    c.provider AS provider,
    c.model AS model,
    u.provider AS meant_provider,
    u.model AS meant_model,
    u.answered AS meant_answered,
    u.context AS meant_context,
    u.apart AS apart,
    COUNT(*) AS calls,
    SUM(c.actual_pico) AS actual_pico
FROM whatif_call AS c
LEFT JOIN whatif_least AS u ON u.writer = c.writer AND u.seq = c.seq
WHERE c.reason IS NOT NULL
GROUP BY
    c.reason,
    c.provider,
    c.model,
    u.provider,
    u.model,
    u.answered,
    u.context,
    u.apart
