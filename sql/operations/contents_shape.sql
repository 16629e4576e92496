-- Everything of a schema but rows, each with a hash of its definition; invalid indexes, which no dump has, are left out.
WITH ours AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
), relations AS (
    SELECT c.*, o.nspname FROM pg_class c JOIN ours o ON o.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), parts AS (
    SELECT 'relation' AS kind, nspname || '.' || relname AS name,
           concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity, relispartition, reloptions) AS text
    FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'column', r.nspname || '.' || r.relname || '.' || a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum WHERE r.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'view', nspname || '.' || relname, pg_get_viewdef(oid) FROM relations WHERE relkind IN ('v', 'm')
    UNION ALL
    SELECT 'index', r.nspname || '.' || x.relname, pg_get_indexdef(x.oid)
    FROM relations r JOIN pg_index i ON i.indrelid = r.oid AND i.indisvalid JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL
    SELECT 'constraint', r.nspname || '.' || r.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
    FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
    UNION ALL
    SELECT 'trigger', r.nspname || '.' || r.relname || '.' || t.tgname, pg_get_triggerdef(t.oid)
    FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
    UNION ALL
    SELECT 'policy', r.nspname || '.' || r.relname || '.' || p.polname,
           concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT 'function', o.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', concat_ws(' ', p.prosrc, p.proconfig, p.prosecdef)
    FROM pg_proc p JOIN ours o ON o.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)
SELECT kind || ' ' || name AS name, md5(text) AS hash FROM parts ORDER BY 1
