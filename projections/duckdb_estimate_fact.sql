-- What estimates said, one row each, by its first line (estimate_line); and with it what the calls came to that name it
-- (estimate_fact).  DuckDB only.
--
-- Each line is parsed once, by json_transform: a function a field took three times as long.
--
-- A hand-made line may hold anything under these names: what is no count is none, and an estimate without its figures
-- is left out, as is one that is not of the years 1 to 9999, in microseconds.  Calls without an answer, and those of
-- which no usage is known, say nothing of an estimate.
--
-- The outcome: `met` by as many calls as it was for; `surplus`, by more; `failed`, where as many calls were made, and
-- some of them say nothing; `declined`, where somebody was asked and no call was made; else `open`.
CREATE OR REPLACE VIEW estimate_line AS
WITH told AS (
    SELECT
        id AS id,
        writer AS writer,
        seq AS seq,
        tick AS tick,
        json_transform(data, '{
            "estimated_at": "VARCHAR", "origin": "VARCHAR", "run": "VARCHAR", "session": "VARCHAR",
            "prompt": "VARCHAR", "prompt_version": "VARCHAR", "statement": "VARCHAR", "provider": "VARCHAR",
            "model": "VARCHAR", "user": "VARCHAR", "project": "VARCHAR", "team": "VARCHAR",
            "cost_center": "VARCHAR", "calls": "VARCHAR", "method": "VARCHAR", "counted_tokens": "VARCHAR",
            "input_tokens": {
                "p5": "VARCHAR", "p50": "VARCHAR", "p95": "VARCHAR", "basis": "VARCHAR", "calls": "VARCHAR"
            },
            "output_tokens": {
                "p50": "VARCHAR", "p90": "VARCHAR", "max": "VARCHAR", "basis": "VARCHAR", "calls": "VARCHAR"
            },
            "cost": {"state": "VARCHAR", "p50_usd": "VARCHAR", "p90_usd": "VARCHAR", "max_usd": "VARCHAR"},
            "confirm": {"answer": "VARCHAR"}, "tags": "MAP(VARCHAR, VARCHAR)"
        }') AS said
    FROM other_line
    WHERE type = 'estimate.made' AND v = 1
),
line AS (
    SELECT
        id AS id,
        writer AS writer,
        seq AS seq,
        EPOCH_US(TRY_CAST(said.estimated_at AS TIMESTAMP)) AS estimated_us,
        said.origin AS origin,
        said.run AS run,
        said.session AS session,
        said.prompt AS prompt,
        said.prompt_version AS prompt_version,
        said.statement AS statement,
        said.provider AS provider,
        said.model AS model,
        said.user AS usr,
        said.project AS project,
        said.team AS team,
        said.cost_center AS cost_center,
        said.tags AS tags,
        TRY_CAST(said.calls AS BIGINT) AS calls,
        said.method AS method,
        TRY_CAST(said.counted_tokens AS BIGINT) AS counted_tokens,
        TRY_CAST(said.input_tokens.p5 AS BIGINT) AS input_p5_tokens,
        TRY_CAST(said.input_tokens.p50 AS BIGINT) AS input_p50_tokens,
        TRY_CAST(said.input_tokens.p95 AS BIGINT) AS input_p95_tokens,
        said.input_tokens.basis AS input_basis,
        TRY_CAST(said.input_tokens.calls AS BIGINT) AS input_calls,
        TRY_CAST(said.output_tokens.p50 AS BIGINT) AS output_p50_tokens,
        TRY_CAST(said.output_tokens.p90 AS BIGINT) AS output_p90_tokens,
        TRY_CAST(said.output_tokens.max AS BIGINT) AS output_max_tokens,
        said.output_tokens.basis AS output_basis,
        TRY_CAST(said.output_tokens.calls AS BIGINT) AS output_calls,
        said.cost.state AS cost_state,
        said.cost.p50_usd AS cost_p50_text,
        said.cost.p90_usd AS cost_p90_text,
        said.cost.max_usd AS cost_max_text,
        said.confirm.answer AS answer,
        ROW_NUMBER() OVER (PARTITION BY id ORDER BY tick, writer, seq) AS copy
    FROM told
)
SELECT e.* EXCLUDE (copy)
FROM line AS e
WHERE
    e.copy = 1 AND e.estimated_us BETWEEN -62135596800000000 AND 253402300799999999
    AND e.provider IS NOT NULL AND e.model IS NOT NULL AND e.calls > 0
    AND e.method IS NOT NULL AND e.counted_tokens >= 0
    AND e.input_p5_tokens >= 0 AND e.input_p50_tokens >= e.input_p5_tokens AND e.input_p95_tokens >= e.input_p50_tokens
    AND e.output_p50_tokens >= 0 AND e.output_p90_tokens >= e.output_p50_tokens;

CREATE OR REPLACE VIEW estimate_fact AS
WITH named AS (
    SELECT
        estimate_id AS estimate_id,
        input_tokens AS input_tokens,
        output_tokens AS output_tokens,
        cost_pico AS cost_pico,
        status = 'ok' AND quality = 'measured' AND input_tokens > 0 AS telling
    FROM call_fact
    WHERE estimate_id IS NOT NULL
),
actual AS (
    SELECT
        estimate_id AS estimate_id,
        COUNT(*) AS named_calls,
        NULLIF(COUNT(*) FILTER (telling), 0) AS calls,
        CAST(SUM(input_tokens) FILTER (telling) AS BIGINT) AS input_tokens,
        CAST(SUM(output_tokens) FILTER (telling) AS BIGINT) AS output_tokens,
        CASE
            WHEN COUNT(cost_pico) FILTER (telling) = COUNT(*) FILTER (telling)
                THEN CAST(SUM(cost_pico) FILTER (telling) AS HUGEINT)
        END AS cost_pico
    FROM named
    GROUP BY estimate_id
)
SELECT
    e.* EXCLUDE (cost_p50_text, cost_p90_text, cost_max_text),
    CASE
        WHEN REGEXP_FULL_MATCH(e.cost_p50_text, '[0-9]{1,15}(\.[0-9]{1,12})?')
            THEN CAST(
                SPLIT_PART(e.cost_p50_text, '.', 1) || RPAD(SPLIT_PART(e.cost_p50_text, '.', 2), 12, '0') AS HUGEINT
            )
    END AS cost_p50_pico,
    CASE
        WHEN REGEXP_FULL_MATCH(e.cost_p90_text, '[0-9]{1,15}(\.[0-9]{1,12})?')
            THEN CAST(
                SPLIT_PART(e.cost_p90_text, '.', 1) || RPAD(SPLIT_PART(e.cost_p90_text, '.', 2), 12, '0') AS HUGEINT
            )
    END AS cost_p90_pico,
    CASE
        WHEN REGEXP_FULL_MATCH(e.cost_max_text, '[0-9]{1,15}(\.[0-9]{1,12})?')
            THEN CAST(
                SPLIT_PART(e.cost_max_text, '.', 1) || RPAD(SPLIT_PART(e.cost_max_text, '.', 2), 12, '0') AS HUGEINT
            )
    END AS cost_max_pico,
    a.calls AS actual_calls,
    a.input_tokens AS actual_input_tokens,
    a.output_tokens AS actual_output_tokens,
    a.cost_pico AS actual_pico,
    CASE
        WHEN a.calls = e.calls THEN 'met'
        WHEN a.calls > e.calls THEN 'surplus'
        WHEN a.named_calls >= e.calls THEN 'failed'
        WHEN a.named_calls IS NULL AND e.answer IN ('no', 'no_terminal') THEN 'declined'
        ELSE 'open'
    END AS outcome
FROM estimate_line AS e
LEFT JOIN actual AS a ON a.estimate_id = e.id
