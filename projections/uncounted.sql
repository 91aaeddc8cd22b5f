-- Lines of calls that do not count, and why.  Portable.
--
-- copy, conflict   another line of its id comes before it in (tick, writer, seq); a conflict was given otherwise
-- voided           the last of its voids and reverted voids, in (tick, writer, seq), is a void
-- shadowed         imported, and a call that was not imported, or a better imported one, shares a key with it
--
-- The first reason that holds stands.  What counts as a key's holder is the first line of each id, whether or not
-- that call is itself voided or shadowed, so the answer does not depend on the order of arrival.
WITH repeated AS (
    SELECT id AS id
    FROM call_line
    GROUP BY id
    HAVING COUNT(*) > 1
),
placed AS (
    SELECT
        c.id AS id,
        c.writer AS writer,
        c.seq AS seq,
        c.input_sha256 AS input_sha256,
        ROW_NUMBER() OVER (PARTITION BY c.id ORDER BY c.tick, c.writer, c.seq) AS place,
        FIRST_VALUE(c.input_sha256) OVER (PARTITION BY c.id ORDER BY c.tick, c.writer, c.seq) AS first_sha256
    FROM call_line AS c
    INNER JOIN repeated AS r ON r.id = c.id
),
later AS (
    SELECT
        id AS id,
        writer AS writer,
        seq AS seq,
        CASE WHEN input_sha256 = first_sha256 THEN 'copy' ELSE 'conflict' END AS reason
    FROM placed
    WHERE place > 1
),
void_placed AS (
    SELECT
        call_id AS call_id,
        type AS type,
        tick AS tick,
        writer AS writer,
        seq AS seq,
        ROW_NUMBER() OVER (PARTITION BY id ORDER BY tick, writer, seq) AS copy
    FROM void_line
),
void_last AS (
    SELECT
        call_id AS call_id,
        type AS type,
        ROW_NUMBER() OVER (PARTITION BY call_id ORDER BY tick DESC, writer DESC, seq DESC) AS place
    FROM void_placed
    WHERE copy = 1
),
voided AS (
    SELECT call_id AS id
    FROM void_last
    WHERE place = 1 AND type = 'call.voided'
),
imported_key AS (
    SELECT DISTINCT k.call_key AS call_key
    FROM call_key AS k
    INNER JOIN call_line AS c ON c.writer = k.writer AND c.seq = k.seq
    WHERE SUBSTR(c.origin, 1, 7) = 'import:'
),
holder AS (
    SELECT
        k.call_key AS call_key,
        c.id AS id,
        CASE WHEN SUBSTR(c.origin, 1, 7) = 'import:' THEN 1 ELSE 0 END AS imported,
        CASE c.quality WHEN 'measured' THEN 0 WHEN 'totals_only' THEN 1 ELSE 2 END AS grade
    FROM call_key AS k
    INNER JOIN imported_key AS i ON i.call_key = k.call_key
    INNER JOIN call_line AS c ON c.writer = k.writer AND c.seq = k.seq
    LEFT JOIN later AS l ON l.writer = k.writer AND l.seq = k.seq
    WHERE l.id IS NULL
),
holder_placed AS (
    SELECT
        id AS id,
        imported AS imported,
        ROW_NUMBER() OVER (PARTITION BY call_key ORDER BY imported, grade, id) AS place
    FROM holder
),
shadowed AS (
    SELECT DISTINCT id AS id
    FROM holder_placed
    WHERE imported = 1 AND place > 1
)
SELECT
    c.writer AS writer,
    c.seq AS seq,
    c.id AS id,
    COALESCE(
        l.reason,
        CASE WHEN v.id IS NOT NULL THEN 'voided' END,
        CASE WHEN s.id IS NOT NULL THEN 'shadowed' END
    ) AS reason
FROM call_line AS c
LEFT JOIN later AS l ON l.writer = c.writer AND l.seq = c.seq
LEFT JOIN voided AS v ON v.id = c.id
LEFT JOIN shadowed AS s ON s.id = c.id
WHERE l.id IS NOT NULL OR v.id IS NOT NULL OR s.id IS NOT NULL
