-- The next whose grace is over, by keyset.
SELECT quarantine_id, subject_id, tenant_id, run_id, bucket, path, quarantine_key, file_key, size_bytes, state, file_fate, reason,
       quarantined_at, delete_after
FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND state = 'quarantined' AND delete_after <= %(now)s
  AND (delete_after, quarantine_id) > (coalesce(%(after_at)s::timestamptz, '-infinity'), %(after)s::uuid)
ORDER BY delete_after, quarantine_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
