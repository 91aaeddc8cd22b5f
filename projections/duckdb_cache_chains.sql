-- What could share a cache: the calls of one prompt, in one version, to one model of one provider.  DuckDB only.
--
-- place numbers the rows of the report, chain what is alike within one.  {columns} are the named columns, each as
-- column_<n>, {names} those names alone, {condition} says which calls.  The few chains are numbered, and not the many
-- calls: to rank a million calls by their names takes half a gigabyte.
CREATE OR REPLACE TEMP TABLE cache_chain AS
SELECT
    {names},
    k.provider AS provider,
    k.model AS model,
    k.prompt AS prompt,
    k.prompt_version AS prompt_version,
    DENSE_RANK() OVER (ORDER BY {names}) AS place,
    ROW_NUMBER() OVER () AS chain
FROM (
    SELECT DISTINCT
        {columns},
        c.provider AS provider,
        c.model AS model,
        c.prompt AS prompt,
        c.prompt_version AS prompt_version
    FROM call_fact AS c
    WHERE c.prompt IS NOT NULL AND {condition}
) AS k
