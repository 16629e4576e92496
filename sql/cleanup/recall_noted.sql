-- What saves named since the last time comes back; only notes that this statement sees go.
WITH noted AS (
    DELETE FROM render_recalls WHERE recall_id IN (SELECT recall_id FROM render_recalls ORDER BY recall_id LIMIT %(most)s)
    RETURNING job_id
)
UPDATE cleanup_quarantine SET state = 'restoring', error = NULL
WHERE kind = 'orphaned_render' AND state IN ('moving', 'quarantined', 'deleting') AND file_fate <> 'removing' AND subject_id IN (SELECT job_id::text FROM noted)
  AND EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata)
                                                   = CASE WHEN kind = 'orphaned_render' THEN subject_id::uuid END)
