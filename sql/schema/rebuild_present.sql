-- The triggers, foreign keys, views and rights to views of public, by the same places and names.
SELECT 1 AS place, c.relname AS owner, k.conname AS name
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 2, c.relname, t.tgname
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 3, c.relname, c.relname
FROM pg_class c
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 4, c.relname, a.grantee::regrole || ' ' || a.privilege_type
FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
