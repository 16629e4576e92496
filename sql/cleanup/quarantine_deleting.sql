-- Before the rows go, in the same transaction: what they said, as PostgreSQL prints it, is kept.
UPDATE cleanup_quarantine q SET state = 'deleting', row_deleted_at = clock_timestamp(), row_json = coalesce(to_jsonb(r), q.row_json)
FROM unnest(%(ids)s::uuid[]) AS w (id) LEFT JOIN render_jobs r ON r.id = w.id
WHERE q.kind = 'orphaned_render' AND q.subject_id = w.id::text AND q.state = 'quarantined'
