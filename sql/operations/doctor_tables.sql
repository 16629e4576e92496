-- Our tables: is each there, whose is it, what may the connection's role do with it, does it keep tenants apart.
SELECT wanted.name AS name, c.oid IS NOT NULL AS present,
       coalesce(pg_has_role(c.relowner, 'USAGE'), false) AS owned,
       c.relrowsecurity AND c.relforcerowsecurity AS walled,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS of_tenants,
       ARRAY(SELECT p FROM unnest(%(privileges)s::text[]) AS p WHERE NOT has_table_privilege(c.oid, p)) AS lacking
FROM unnest(%(tables)s::text[]) AS wanted (name)
LEFT JOIN pg_class c ON c.relname = wanted.name AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY wanted.name
