-- What the connection's role may not do with the platform's tables: read them all, and write what migration notes.
SELECT c.relname AS name, 'SELECT' AS privilege
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%(tables)s)
  AND NOT has_table_privilege(c.oid, 'SELECT')
UNION ALL
SELECT c.relname, 'UPDATE (' || a.attname || ')'
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = 'content_items' AND a.attname = ANY (%(columns)s)
  AND NOT has_column_privilege(c.oid, a.attnum, 'UPDATE')
ORDER BY 1, 2
