-- One row a counted call and line of its cost under the basis of call_fact.  Portable.
--
-- What was recorded stands in cost_line, what a reprice or another basis made of it in repriced_cost_line.  A line of
-- an unpriced bucket stands without pico.  The sum of pico is the sum of call_fact.cost_pico.
SELECT
    l.id AS id,
    l.place AS place,
    l.bucket AS bucket,
    l.quantity AS quantity,
    l.pico_per_million AS pico_per_million,
    CASE WHEN c.cost_pico IS NOT NULL THEN l.pico END AS pico
FROM cost_line AS l
INNER JOIN call_fact AS c ON c.writer = l.writer AND c.seq = l.seq
WHERE c.repriced_state IS NULL
UNION ALL
SELECT
    l.id AS id,
    l.place AS place,
    l.bucket AS bucket,
    l.quantity AS quantity,
    l.pico_per_million AS pico_per_million,
    CASE WHEN c.cost_pico IS NOT NULL THEN l.pico END AS pico
FROM repriced_cost_line AS l
INNER JOIN call_fact AS c ON c.writer = l.writer AND c.seq = l.seq
WHERE c.repriced_state IS NOT NULL
