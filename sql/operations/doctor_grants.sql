-- Privileges that a role should have and has not, of tables and roles that are there.
SELECT wanted.role AS role, wanted.name AS name, wanted.privilege AS privilege
FROM unnest(%(roles)s::text[], %(tables)s::text[], %(privileges)s::text[]) AS wanted (role, name, privilege)
JOIN pg_class c ON c.relname = wanted.name AND c.relnamespace = 'public'::regnamespace
JOIN pg_roles r ON r.rolname = wanted.role
WHERE NOT has_table_privilege(r.oid, c.oid, wanted.privilege)
ORDER BY 1, 2, 3
