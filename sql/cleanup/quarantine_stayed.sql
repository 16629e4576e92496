-- The delete did not find it to be an orphan any more, so its row is there.
UPDATE cleanup_quarantine SET state = 'quarantined', row_deleted_at = NULL
WHERE kind = 'orphaned_render' AND subject_id = ANY(%(ids)s::text[]) AND state = 'deleting'
