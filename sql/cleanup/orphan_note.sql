-- Candidates among the next renders by id that are not noted: those before the triggers, and those that by-passed them.
WITH page AS MATERIALIZED (
    SELECT id, user_id, status, output_url, created_at, updated_at FROM render_jobs
    WHERE id >= %(first)s ORDER BY id LIMIT %(page)s + 1
), looked AS MATERIALIZED (
    SELECT * FROM page ORDER BY id LIMIT %(page)s
), added AS (
    INSERT INTO render_candidates (job_id, user_id, created_at, since)
    SELECT p.id, p.user_id, p.created_at, least(greatest(p.created_at, p.updated_at, 'epoch'), clock_timestamp())
    FROM looked p
    WHERE p.status = 'completed' AND p.output_url <> ''
      AND NOT EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = p.id)
      AND NOT EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = p.id::text
                        AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
    ON CONFLICT (job_id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM looked) AS compared, (SELECT count(*) FROM added) AS added,
       (SELECT id FROM page ORDER BY id OFFSET %(page)s LIMIT 1) AS next
