-- Good is renders_missing 0 and in_quarantine 0 in every row: what a user saved is there. One row a tenant; bytes as the platform
-- recorded them. In_quarantine above 0 for longer than a minute: launch bring_back_saved_renders. Reads only.
SELECT u.tenant_id, count(*) AS saved_assets, coalesce(sum(s.file_size), 0)::bigint AS bytes, max(s.created_at) AS last_saved,
       count(*) FILTER (WHERE r.id IS NULL AND q.quarantine_id IS NULL) AS renders_missing,
       count(*) FILTER (WHERE q.quarantine_id IS NOT NULL) AS in_quarantine,
       min(s.job_id::text) FILTER (WHERE r.id IS NULL OR q.quarantine_id IS NOT NULL) AS one_of_them
FROM (SELECT *, content_render_reference(metadata) AS job_id FROM user_assets) AS s
LEFT JOIN users u ON u.id = s.user_id
LEFT JOIN render_jobs r ON r.id = s.job_id
LEFT JOIN cleanup_quarantine q
    ON q.kind = 'orphaned_render' AND q.subject_id = s.job_id::text AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting')
WHERE s.job_id IS NOT NULL
GROUP BY u.tenant_id
ORDER BY renders_missing DESC, in_quarantine DESC, saved_assets DESC, u.tenant_id
