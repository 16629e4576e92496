-- Values of staged rows that no column of the target takes, by key, with a row that has one.
SELECT e.key AS name, count(*) FILTER (WHERE json_typeof(e.value) <> 'null') AS with_value,
       min(s.id::text) FILTER (WHERE json_typeof(e.value) <> 'null') AS example
FROM restore_staging s CROSS JOIN LATERAL json_each(s.doc::json) AS e
WHERE s.n = ANY (%(numbers)s::integer[]) AND e.key <> ALL (%(columns)s::text[])
GROUP BY e.key ORDER BY e.key
