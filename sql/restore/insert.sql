-- Writes rows that the target has none of, and says how many were written and how many of them do not read back as given.
-- They come as lines, one a row, and `given` counts the lines: a row with a line break of its own makes more than there are rows.
WITH given AS MATERIALIZED (
    SELECT l.id::uuid AS id, l.doc FROM ROWS FROM (string_to_table(%(ids)s, E'\n'), string_to_table(%(docs)s, E'\n')) AS l (id, doc)
), written AS (
    INSERT INTO {target} AS t ({columns})
    SELECT {values}
    -- Without OFFSET the planner pulls the call up and parses each row once a column.
    FROM (SELECT g.id, jsonb_populate_record(NULL::{target}, g.doc::jsonb) AS r FROM given g OFFSET 0) AS p
    WHERE (p.r).id = p.id
    RETURNING t.id, row_to_json(t.*)::text AS printed
)
SELECT (SELECT count(*) FROM given) AS given, count(*) AS written, count(*) FILTER (WHERE w.printed IS DISTINCT FROM g.doc) AS differ
FROM written w LEFT JOIN given g ON g.id = w.id
