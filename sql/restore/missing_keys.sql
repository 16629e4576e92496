-- Staged rows by the columns of the target that they have no value for.
SELECT m.missing, array_agg(s.n ORDER BY s.n) AS numbers
FROM restore_staging s CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(c ORDER BY c), ARRAY[]::text[]) AS missing FROM unnest(%(columns)s::text[]) AS c WHERE NOT s.doc::jsonb ? c
) AS m
WHERE s.n = ANY (%(numbers)s::integer[])
GROUP BY m.missing ORDER BY m.missing
