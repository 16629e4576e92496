-- The next orphans to put into quarantine, by keyset; what another pass holds is left to it, and what is there already stays.
SELECT job_id, since, state, reason FROM render_candidates c
WHERE state = 'orphan' AND since <= %(now)s AND (since, job_id) > (coalesce(%(after_at)s::timestamptz, '-infinity'), %(after)s::uuid)
  AND NOT EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = c.job_id::text
                    AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
ORDER BY since, job_id LIMIT %(batch)s FOR UPDATE OF c SKIP LOCKED
