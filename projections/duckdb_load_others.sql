-- All other lines, as rows of other_lines.  DuckDB only.
--
-- The variable `files` lists files that the program wrote: one object a line, `data` as text.
SELECT
    id AS id,
    writer AS writer,
    seq AS seq,
    tick AS tick,
    type AS type,
    v AS v,
    EPOCH_US(TRY_CAST(time AS TIMESTAMP)) AS time_us,
    call_id AS call_id,
    data AS data
FROM read_json(
    getvariable('files'),
    format = 'newline_delimited',
    columns = {
        id: 'VARCHAR',
        writer: 'VARCHAR',
        seq: 'BIGINT',
        tick: 'BIGINT',
        type: 'VARCHAR',
        v: 'BIGINT',
        time: 'VARCHAR',
        call_id: 'VARCHAR',
        data: 'VARCHAR'
    }
)
