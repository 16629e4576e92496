-- What a run put into quarantine, or what was below a path, the latest first.
SELECT quarantine_id, subject_id, run_id, bucket, path FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND state IN ('moving', 'quarantined') AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s::text)
  AND (%(bucket)s::text IS NULL OR bucket = %(bucket)s::text AND (%(path)s = '' OR path = %(path)s OR starts_with(path, %(path)s || '/')))
ORDER BY quarantined_at DESC, quarantine_id LIMIT %(limit)s
