-- What was brought back a while ago and still has its copy; whether somebody has it saved.
SELECT quarantine_id, bucket, path, quarantine_key, file_key, size_bytes,
       EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata)
                   = CASE WHEN kind = 'orphaned_render' THEN subject_id::uuid END) AS saved
FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND state = 'restored' AND quarantine_key IS NOT NULL AND ended_at < %(before)s
ORDER BY ended_at LIMIT %(batch)s
