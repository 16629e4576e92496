-- How PostgreSQL would create each trigger, foreign key, view and right to a view of the rebuild, in an order that works.
SELECT 1 AS place, c.relname AS owner, k.conname AS name,
       format('ALTER TABLE public.%%I ADD CONSTRAINT %%I %%s', c.relname, k.conname, pg_get_constraintdef(k.oid)) AS definition
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relnamespace = 'content_rebuild'::regnamespace
UNION ALL
SELECT 2, c.relname, t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'content_rebuild'::regnamespace
UNION ALL
SELECT 3, c.relname, c.relname,
       format('CREATE VIEW public.%%I %%s AS %%s', c.relname, 'WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid))
FROM pg_class c
WHERE c.relkind = 'v' AND c.relnamespace = 'content_rebuild'::regnamespace
UNION ALL
SELECT 4, c.relname, a.grantee::regrole || ' ' || a.privilege_type,
       format('GRANT %%s ON public.%%I TO %%s', a.privilege_type, c.relname, a.grantee::regrole)
FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relkind = 'v' AND c.relnamespace = 'content_rebuild'::regnamespace AND a.grantee <> c.relowner
ORDER BY 1, 2, 3
