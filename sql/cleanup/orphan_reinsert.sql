-- A save that came before the file went: the row is back as it was printed.
INSERT INTO render_jobs
SELECT (jsonb_populate_record(NULL::render_jobs, q.row_json)).* FROM cleanup_quarantine q
WHERE q.quarantine_id = ANY(%(ids)s) AND q.row_deleted_at IS NOT NULL AND q.state = 'restoring' AND q.row_json ? 'id'
ON CONFLICT (id) DO NOTHING
