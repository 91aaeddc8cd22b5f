-- The calls that a report is over, what each costs and what it would cost, at least and at most.  DuckDB only.
--
-- A call that has no cost on one of the sides has a reason, and counts on neither.  A refusal costs nothing by any
-- prices.  {columns} are the named columns of the report, {condition} says which calls.
CREATE OR REPLACE TEMP TABLE whatif_call AS
SELECT
    c.writer AS writer,
    c.seq AS seq,
    c.started_us AS started_us,
    c.provider AS provider,
    c.model AS model,
    COALESCE(c.response_model, '') AS answered,
    {columns}
    CASE
        WHEN c.cost_state = 'unknown' THEN 'unknown_usage'
        WHEN c.cost_state = 'reported' THEN 'reported'
        WHEN c.cost_pico IS NULL THEN 'unpriced'
        WHEN c.status = 'error' AND c.cost_pico = 0 AND c.input_tokens + c.output_tokens = 0 AND p.seq IS NULL
            THEN NULL
        WHEN p.low_pico IS NULL THEN 'no_price'
    END AS reason,
    c.cost_pico AS actual_pico,
    COALESCE(p.low_pico, 0) AS low_pico,
    COALESCE(p.high_pico, 0) AS high_pico
FROM call_fact AS c
LEFT JOIN whatif_price AS p ON p.writer = c.writer AND p.seq = c.seq
WHERE {condition}
