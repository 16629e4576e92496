-- Indexes that a REINDEX left half-made, on tables on which none is being made. Who may not see another's work counts it as work here.
SELECT x.relname AS name, pg_relation_size(x.oid) AS bytes
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid
WHERE NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$'
  AND c.relnamespace = 'public'::regnamespace AND pg_has_role(c.relowner, 'USAGE')
  AND NOT EXISTS (
      SELECT FROM pg_stat_progress_create_index p
      WHERE p.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND p.pid <> pg_backend_pid() AND (p.relid = i.indrelid OR p.relid IS NULL))
ORDER BY x.relname
