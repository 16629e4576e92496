-- Roles that rights and policies of this database name, owners aside: a server without them cannot take the dump in.
SELECT DISTINCT r.rolname AS name
FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('a', 'r')
  AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
