-- How a snapshot reads each column of a table. What the client prints itself arrives as it is, any other type as PostgreSQL's JSON.
-- A timestamp beyond the years 1 to 9999 (infinity, BC) is odd: such a row is printed by PostgreSQL as a whole.
SELECT a.attname::text AS name,
       CASE WHEN printed THEN a.atttypid::regtype::text ELSE 'json' END AS type,
       CASE WHEN printed THEN format('r.%I', a.attname) ELSE format('to_json(r.%1$I)::text AS %1$I', a.attname) END AS expression,
       CASE WHEN a.atttypid = 'timestamptz'::regtype THEN
           format('r.%1$I < ''0001-01-01 00:00:00+00'' OR r.%1$I >= ''10000-01-01 00:00:00+00''', a.attname)
       END AS odd
FROM pg_attribute a
CROSS JOIN LATERAL (
    SELECT a.atttypid = ANY ('{uuid,text,smallint,integer,bigint,jsonb,timestamptz}'::regtype[]) AS printed
) AS p
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
