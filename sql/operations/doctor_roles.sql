-- Which of our roles exist, and whether the connection's role may act as each.
SELECT wanted.name AS name, r.oid IS NOT NULL AS present,
       coalesce(pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END),
                false) AS settable
FROM unnest(%(roles)s::text[]) AS wanted (name) LEFT JOIN pg_roles r ON r.rolname = wanted.name
ORDER BY wanted.name
