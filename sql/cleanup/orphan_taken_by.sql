-- The copy of a render in quarantine that named the same file.
SELECT quarantine_key FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND bucket = %(bucket)s AND path = %(path)s AND quarantine_id <> %(quarantine_id)s
  AND file_fate = 'moved' AND quarantine_key IS NOT NULL AND state IN ('quarantined', 'restoring')
  AND file_key = (SELECT file_key FROM cleanup_quarantine WHERE quarantine_id = %(quarantine_id)s)
ORDER BY quarantined_at LIMIT 1
