-- Only notes that this statement sees go, and each leaves a candidate, unless it is in quarantine: then its row there is asked again
-- before anything goes. What undo protects stays protected.
WITH noted AS (
    DELETE FROM render_notes WHERE note_id IN (SELECT note_id FROM render_notes ORDER BY note_id LIMIT %(most)s)
    RETURNING job_id, at
), latest AS (
    SELECT job_id, max(at) AS at FROM noted GROUP BY job_id
), added AS (
    INSERT INTO render_candidates AS c (job_id, user_id, created_at, since)
    SELECT r.id, r.user_id, r.created_at, l.at FROM latest l JOIN render_jobs r ON r.id = l.job_id
    WHERE r.status = 'completed' AND r.output_url <> ''
      AND NOT EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = r.id::text
                        AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
    ON CONFLICT (job_id) DO UPDATE SET since = greatest(c.since, excluded.since), state = 'waiting', reason = NULL, look_at = clock_timestamp()
    WHERE c.reason IS DISTINCT FROM 'undone'
)
SELECT count(*) AS notes FROM noted
