-- The tables that people query, over the facts.  DuckDB only: TIMESTAMPTZ, DECIMAL(38,12), friendly names.
-- One picodollar is 0.000000000001 USD; the product with an integer of picodollars is exact.

CREATE OR REPLACE VIEW calls AS
SELECT
    CAST(id AS VARCHAR) AS id,
    MAKE_TIMESTAMPTZ(started_us) AS started_at,
    writer AS writer,
    seq AS sequence,
    session AS session,
    prompt AS prompt,
    prompt_version AS prompt_version,
    statement AS statement,
    client AS client,
    client_call_id AS client_call_id,
    provider AS provider,
    model AS model,
    response_model AS response_model,
    status AS status,
    input_tokens AS input_tokens,
    output_tokens AS output_tokens,
    cache_read_input_tokens AS cache_read_input_tokens,
    cache_creation_input_tokens AS cache_creation_input_tokens,
    reasoning_output_tokens AS reasoning_output_tokens,
    CAST(cost_pico * 0.000000000001 AS DECIMAL(38, 12)) AS cost_usd,
    CAST(recorded_pico * 0.000000000001 AS DECIMAL(38, 12)) AS recorded_cost_usd,
    CAST(reported_pico * 0.000000000001 AS DECIMAL(38, 12)) AS reported_cost_usd,
    cost_state AS cost_state,
    usr AS "user",
    project AS project,
    team AS team,
    cost_center AS cost_center,
    recorded_usr AS recorded_user,
    recorded_project AS recorded_project,
    recorded_team AS recorded_team,
    recorded_cost_center AS recorded_cost_center,
    tags AS tags,
    duration_ms AS duration_ms,
    origin AS origin,
    quality AS quality,
    run AS run,
    http_status AS http_status,
    error_type AS error_type,
    estimate_id AS estimate_id
FROM call_fact;

CREATE OR REPLACE VIEW charges AS
SELECT
    CAST(id AS VARCHAR) AS call_id,
    bucket AS bucket,
    CAST(quantity AS BIGINT) AS quantity,
    CAST(pico_per_million * 0.000000000001 AS DECIMAL(38, 12)) AS usd_per_million,
    CAST(pico * 0.000000000001 AS DECIMAL(38, 12)) AS usd
FROM charge_fact;

CREATE OR REPLACE VIEW sessions AS
SELECT
    session AS session,
    MAKE_TIMESTAMPTZ(first_us) AS started_at,
    MAKE_TIMESTAMPTZ(last_us) AS last_call_at,
    usr AS "user",
    project AS project,
    prompt AS prompt,
    model AS model,
    calls AS calls,
    failed_calls AS failed_calls,
    unknown_calls AS unknown_calls,
    unpriced_calls AS unpriced_calls,
    calls - costed_calls AS uncosted_calls,
    input_tokens AS input_tokens,
    output_tokens AS output_tokens,
    cache_read_input_tokens AS cache_read_input_tokens,
    cache_creation_input_tokens AS cache_creation_input_tokens,
    reasoning_output_tokens AS reasoning_output_tokens,
    CAST(cost_pico * 0.000000000001 AS DECIMAL(38, 12)) AS cost_usd
FROM session_fact;

CREATE OR REPLACE VIEW daily AS
SELECT
    CAST(MAKE_TIMESTAMP(day_us) AS DATE) AS date,
    calls AS calls,
    failed_calls AS failed_calls,
    unknown_calls AS unknown_calls,
    unpriced_calls AS unpriced_calls,
    calls - costed_calls AS uncosted_calls,
    input_tokens AS input_tokens,
    output_tokens AS output_tokens,
    cache_read_input_tokens AS cache_read_input_tokens,
    cache_creation_input_tokens AS cache_creation_input_tokens,
    reasoning_output_tokens AS reasoning_output_tokens,
    CAST(cost_pico * 0.000000000001 AS DECIMAL(38, 12)) AS cost_usd
FROM day_fact;

CREATE OR REPLACE VIEW uncounted AS
SELECT
    CAST(u.id AS VARCHAR) AS id,
    u.writer AS writer,
    u.seq AS sequence,
    u.reason AS reason,
    MAKE_TIMESTAMPTZ(c.started_us) AS started_at,
    c.session AS session,
    c.provider AS provider,
    c.model AS model,
    c.origin AS origin,
    c.cost_state AS cost_state,
    CAST(c.cost_pico * 0.000000000001 AS DECIMAL(38, 12)) AS cost_usd
FROM uncounted_line AS u
INNER JOIN call_line AS c ON c.writer = u.writer AND c.seq = u.seq;

-- Events without `data`: what a statement that never names `data` gets; see duckdb_events.sql.
CREATE OR REPLACE VIEW events AS
SELECT
    CAST(id AS VARCHAR) AS id,
    type AS type,
    CAST(1 AS BIGINT) AS v,
    MAKE_TIMESTAMPTZ(time_us) AS time,
    writer AS writer,
    seq AS seq,
    tick AS tick
FROM call_line
UNION ALL
SELECT id AS id, type AS type, v AS v, MAKE_TIMESTAMPTZ(time_us) AS time, writer AS writer, seq AS seq, tick AS tick
FROM other_line;
