-- How PostgreSQL would create each trigger, foreign key and view of the rebuild, in an order that works.
SELECT 1 AS place, c.relname AS owner, k.conname AS name,
       format('ALTER TABLE public.%%I ADD CONSTRAINT %%I %%s', c.relname, k.conname, pg_get_constraintdef(k.oid)) AS definition
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relnamespace = 'content_rebuild'::regnamespace
UNION ALL
SELECT 2, c.relname, t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'content_rebuild'::regnamespace
UNION ALL
SELECT 3, c.relname, c.relname, format('CREATE VIEW public.%%I AS %%s', c.relname, pg_get_viewdef(c.oid))
FROM pg_class c
WHERE c.relkind = 'v' AND c.relnamespace = 'content_rebuild'::regnamespace
ORDER BY 1, 2, 3
