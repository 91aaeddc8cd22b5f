-- Ids of lines outside of some spans that decide which calls inside of them count.  DuckDB only.
--
-- Those of lines that stand twice, wherever they do; and, with {imported}, of lines that share a key with one inside.
CREATE OR REPLACE TABLE {table} AS
SELECT DISTINCT u.id AS id
FROM uncounted_line AS u
WHERE u.reason IN ('copy', 'conflict')
UNION
SELECT k.id AS id
FROM (SELECT l.id AS id, UNNEST(l.call_keys) AS call_key FROM loaded_line AS l WHERE {imported} = 1) AS k
SEMI JOIN (SELECT UNNEST(l.call_keys) AS call_key FROM loaded_line AS l WHERE {imported} = 1 AND ({bounds})) AS s
    ON s.call_key = k.call_key
