-- The next orphans to put into quarantine, by keyset; what another pass holds is left to it.
SELECT job_id, since, state, reason FROM render_candidates
WHERE state = 'orphan' AND since <= %(now)s AND (since, job_id) > (coalesce(%(after_at)s::timestamptz, '-infinity'), %(after)s::uuid)
ORDER BY since, job_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
