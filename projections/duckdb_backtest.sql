-- Calls that count, as a trial of a budget takes them, in the order in which they began.  DuckDB only.
--
-- Those that began in [{start}, {end}), and, for the sizes of holds, the last {recent} ones of each prompt and model
-- before.  Costs are those that were recorded.  `request` is what was told of the request before it was sent, as JSON.
WITH counted AS (
    SELECT c.*
    FROM loaded_line AS c
    LEFT JOIN uncounted_line AS u ON u.writer = c.writer AND u.seq = c.seq
    WHERE u.reason IS NULL AND c.started_us < {end}
),
earlier AS (
    SELECT
        c.*,
        ROW_NUMBER() OVER (
            PARTITION BY c.provider, c.model, c.prompt ORDER BY c.started_us DESC, c.id DESC
        ) AS recency
    FROM counted AS c
    WHERE c.started_us < {start} AND c.status = 'ok'
),
wanted AS (
    SELECT * FROM counted WHERE started_us >= {start}
    UNION ALL
    SELECT * EXCLUDE (recency) FROM earlier WHERE recency <= {recent}
),
reserved AS (
    SELECT r.call_id AS call_id, MIN(CAST(JSON_EXTRACT(r.data, '$.request') AS VARCHAR)) AS request
    FROM other_line AS r
    WHERE r.type = 'call.reserved' AND r.v = 1
    GROUP BY r.call_id
)
SELECT
    CAST(w.id AS VARCHAR) AS id,
    w.started_us AS started_us,
    w.started_us + COALESCE(w.duration_ms, 0) * 1000 AS ended_us,
    w.status AS status,
    w.provider AS provider,
    w.model AS model,
    w.response_model AS response_model,
    w.prompt AS prompt,
    w.prompt_version AS prompt_version,
    w.session AS session,
    w.run AS run,
    w.client AS client,
    w.usr AS usr,
    w.project AS project,
    w.team AS team,
    w.cost_center AS cost_center,
    w.os_user AS os_user,
    w.origin AS origin,
    w.tags AS tags,
    w.usage AS usage,
    w.pricing_context AS pricing_context,
    w.cost_state AS cost_state,
    w.cost_pico AS cost_pico,
    w.cost_lines AS cost_lines,
    r.request AS request
FROM wanted AS w
LEFT JOIN reserved AS r ON r.call_id = CAST(w.id AS VARCHAR)
ORDER BY w.started_us, w.id
