-- `events` with `data`, straight from copies of the journal's lines.  DuckDB only.
--
-- The layers keep no second copy of the lines, so this parses the journal; `keledger sql` makes it only for
-- statements that name `data` or every column.  The variable `files` lists the copies.
CREATE OR REPLACE VIEW events AS
SELECT
    id AS id,
    type AS type,
    v AS v,
    CAST(time AS TIMESTAMP) AT TIME ZONE 'UTC' AS time,
    SUBSTR(source, 11) AS writer,
    seq AS seq,
    tick AS tick,
    data AS data
FROM read_json(
    getvariable('files'),
    format = 'newline_delimited',
    columns = {
        id: 'VARCHAR',
        source: 'VARCHAR',
        type: 'VARCHAR',
        v: 'BIGINT',
        time: 'TIMESTAMP',
        seq: 'BIGINT',
        tick: 'BIGINT',
        data: 'JSON'
    }
);
