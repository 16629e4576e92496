-- What was brought back a while ago and still has its copy; whether somebody has it saved, and it did not go into quarantine again since.
SELECT q.quarantine_id, q.bucket, q.path, q.quarantine_key, q.file_key, q.size_bytes,
       EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata)
                   = CASE WHEN q.kind = 'orphaned_render' THEN q.subject_id::uuid END)
       AND NOT EXISTS (SELECT FROM cleanup_quarantine n WHERE n.kind = 'orphaned_render' AND n.subject_id = q.subject_id
                         AND n.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
       -- It went with its row, and whoever named it later came too late: nobody would remove it a second time.
       AND NOT EXISTS (SELECT FROM cleanup_quarantine n WHERE n.file_key = q.file_key AND n.quarantine_key IS NOT NULL
                         AND n.kind = 'orphaned_render' AND n.subject_id = q.subject_id AND n.state = 'deleted') AS saved
FROM cleanup_quarantine q
WHERE q.kind = 'orphaned_render' AND q.state = 'restored' AND q.quarantine_key IS NOT NULL AND q.ended_at < %(before)s
ORDER BY q.ended_at LIMIT %(batch)s
