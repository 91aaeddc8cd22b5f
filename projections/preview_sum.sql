-- What a reprice changes, before and after, by slots of time, models and projects.  Portable.
--
-- A slot is {slot_us} long; see slot.sql.
SELECT
    p.started_us - (p.started_us + 62135596800000000) % {slot_us} AS slot_us,
    p.provider AS provider,
    p.model AS model,
    p.project AS project,
    COUNT(*) AS calls,
    COUNT(CASE WHEN p.before_state <> p.after_state OR p.before_pico <> p.after_pico THEN 1 END) AS changed_calls,
    COUNT(CASE WHEN p.before_state = 'unpriced' AND p.after_state = 'priced' THEN 1 END) AS newly_priced,
    COUNT(CASE WHEN p.before_state <> 'unpriced' AND p.after_state = 'unpriced' THEN 1 END) AS newly_unpriced,
    COUNT(CASE WHEN p.kept = 1 AND p.before_pico IS NOT NULL THEN 1 END) AS kept_calls,
    COUNT(p.before_pico) AS before_costed,
    COUNT(p.after_pico) AS after_costed,
    COALESCE(SUM(p.before_pico), 0) AS before_pico,
    COALESCE(SUM(p.after_pico), 0) AS after_pico
FROM preview AS p
GROUP BY
    p.started_us - (p.started_us + 62135596800000000) % {slot_us},
    p.provider,
    p.model,
    p.project
