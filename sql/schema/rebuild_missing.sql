-- Tables of ours that are not there, partitions behind their parents.
SELECT c.relname AS name
FROM pg_class c
WHERE c.relnamespace = 'content_rebuild'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'content_items'
  AND NOT EXISTS (SELECT FROM pg_class p WHERE p.relnamespace = 'public'::regnamespace AND p.relname = c.relname)
  AND (NOT c.relispartition OR EXISTS (
      SELECT FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent
      WHERE i.inhrelid = c.oid AND NOT EXISTS (
          SELECT FROM pg_class p WHERE p.relnamespace = 'public'::regnamespace AND p.relname = parent.relname)))
ORDER BY c.relispartition, c.relname
