-- Good is no row, or only rows younger than two sweeps: each one is a completed render, older than an hour and not in quarantine,
-- that no asset was saved from. `known` says what cleanup makes of it: orphan (goes next), refused with its reason, waiting, or
-- unseen. If many stay: is the schedule on, was its last run refused? Reads only; the 1,000 oldest.
SELECT r.id AS render_job_id, u.tenant_id, r.user_id, r.created_at, coalesce(r.updated_at, r.created_at) AS completed_at,
       clock_timestamp() - coalesce(r.updated_at, r.created_at) AS age,
       coalesce(c.state, 'unseen') AS known, c.reason
FROM render_jobs r
LEFT JOIN users u ON u.id = r.user_id
LEFT JOIN render_candidates c ON c.job_id = r.id
WHERE r.status = 'completed' AND r.output_url <> ''
  AND greatest(r.created_at, r.updated_at) < clock_timestamp() - interval '1 hour'
  AND NOT EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = r.id)
  AND NOT EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = r.id::text
                    AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
ORDER BY completed_at, r.id
LIMIT 1000
