-- The next entries of the cleanup audit, by key, that no change in the log is still to carry to BigQuery.
SELECT r.id::text AS entity_id
FROM cleanup_audit r
WHERE (%(after)s::uuid IS NULL OR r.id > %(after)s)
  AND NOT EXISTS (
      SELECT FROM content_changes c LEFT JOIN replication_cursor p ON true
      WHERE c.entity = 'cleanup_audit' AND c.entity_id = r.id AND c.change_xid >= coalesce(p.next_xid, '0'::xid8)
  )
ORDER BY r.id
LIMIT %(page)s
