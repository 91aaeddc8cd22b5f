-- What the portable files stand on, beside call_line and other_line (unions over the layers and the tail).
-- DuckDB only: another engine would offer the same names over its own tables.

-- One row a call line and key under which the call may be told again.
CREATE OR REPLACE VIEW call_key AS
SELECT DISTINCT id AS id, writer AS writer, seq AS seq, UNNEST(call_keys) AS call_key
FROM call_line;

-- One row a call line and line of its cost, `place` being its place among them.
CREATE OR REPLACE VIEW cost_line AS
SELECT
    id AS id,
    writer AS writer,
    seq AS seq,
    place AS place,
    line.bucket AS bucket,
    CAST(line.quantity AS DECIMAL(19, 0)) AS quantity,
    CAST(
        CAST(
            SPLIT_PART(line.usd_per_million, '.', 1) || RPAD(SPLIT_PART(line.usd_per_million, '.', 2), 12, '0')
            AS HUGEINT
        ) AS DECIMAL(38, 0)
    ) AS pico_per_million,
    CAST(
        CAST(SPLIT_PART(line.usd, '.', 1) || RPAD(SPLIT_PART(line.usd, '.', 2), 12, '0') AS HUGEINT) AS DECIMAL(38, 0)
    ) AS pico
FROM (
    SELECT
        id AS id,
        writer AS writer,
        seq AS seq,
        UNNEST(cost_lines) AS line,
        GENERATE_SUBSCRIPTS(cost_lines, 1) AS place
    FROM call_line
);

-- One row an event that voids a call or takes a void back.
CREATE OR REPLACE VIEW void_line AS
SELECT
    id AS id,
    writer AS writer,
    seq AS seq,
    tick AS tick,
    type AS type,
    TRY_CAST(call_id AS UUID) AS call_id
FROM other_line
WHERE type IN ('call.voided', 'void.reverted') AND v = 1 AND TRY_CAST(call_id AS UUID) IS NOT NULL;
