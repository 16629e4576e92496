-- Writes the staged rows, or those with the given numbers, and says how many do not read back as the history has them.
-- xmax is 0 where the row was inserted.
WITH written AS (
    INSERT INTO {target} AS t ({columns})
    SELECT {values}
    FROM restore_staging s CROSS JOIN LATERAL jsonb_populate_record(NULL::{target}, s.doc::jsonb) AS r
    WHERE (%(numbers)s::integer[] IS NULL OR s.n = ANY (%(numbers)s::integer[])) AND r.id = s.id
    ON CONFLICT (id) {conflict}
    RETURNING t.id, t.xmax = 0 AS inserted, {printed} AS printed
)
SELECT count(*) FILTER (WHERE w.inserted) AS inserted, count(*) FILTER (WHERE NOT w.inserted) AS updated,
       count(*) FILTER (WHERE w.printed IS DISTINCT FROM {expected}) AS differ
FROM written w JOIN restore_staging s ON s.id = w.id
