-- The last moment at which a save counts: none names it, so its file goes, and from this commit on a save is too late.
UPDATE cleanup_quarantine q
SET file_fate = CASE WHEN q.file_fate = 'moved' THEN 'removing' ELSE q.file_fate END,
    state = CASE WHEN q.file_fate IN ('moved', 'removing') THEN 'deleting' ELSE 'deleted' END,
    ended_at = clock_timestamp()
WHERE q.quarantine_id = %(quarantine_id)s AND q.state = 'deleting'
  AND (q.file_fate = 'removing' OR NOT EXISTS (
      SELECT FROM user_assets a
      WHERE content_render_reference(a.metadata) = CASE WHEN q.kind = 'orphaned_render' THEN q.subject_id::uuid END))
RETURNING q.file_fate
