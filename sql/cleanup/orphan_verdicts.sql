-- The whole predicate of an orphan, asked of the platform's own tables each time: by a scan, and again under the rows' locks.
SELECT w.id AS job_id, r.user_id, u.tenant_id, r.output_url, content_render_file(r.output_url) AS file_key,
       CASE WHEN EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = w.id) THEN 'saved'
            WHEN r.id IS NULL THEN 'gone'
            WHEN r.status IS DISTINCT FROM 'completed' THEN 'not_completed'
            WHEN coalesce(r.output_url, '') = '' THEN 'no_output'
            WHEN r.created_at IS NULL AND r.updated_at IS NULL THEN 'unknown_age'
            WHEN greatest(r.created_at, r.updated_at, c.since) > %(cutoff)s THEN 'young'
            ELSE 'orphan' END AS verdict,
       s.others >= 100 OR s.needed AS file_needed
FROM unnest(%(ids)s::uuid[]) AS w (id)
LEFT JOIN render_jobs r ON r.id = w.id
LEFT JOIN users u ON u.id = r.user_id
LEFT JOIN render_candidates c ON c.job_id = w.id
CROSS JOIN LATERAL (
    -- A hundred renders of one file are enough to leave it where it is. One that was saved until a moment ago may be saved again: it needs
    -- the file until a scan has marked it too.
    SELECT count(*) AS others, coalesce(bool_or(
               o.user_id IS DISTINCT FROM r.user_id OR o.status IS DISTINCT FROM 'completed'
               OR coalesce(greatest(o.created_at, o.updated_at) > %(cutoff)s, true)
               OR EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = o.id)
               OR NOT (EXISTS (SELECT FROM render_candidates m WHERE m.job_id = o.id AND m.state = 'orphan')
                       OR EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = o.id::text
                                    AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting')))), false) AS needed
    FROM (SELECT id, user_id, status, created_at, updated_at FROM render_jobs
          WHERE content_render_file(output_url) = content_render_file(r.output_url) AND output_url IS NOT NULL AND id <> w.id LIMIT 100) AS o
) AS s
