-- The next candidates to look at, by keyset; what another pass holds is left to it.
SELECT job_id, look_at, state, reason FROM render_candidates
WHERE look_at <= %(now)s AND (look_at, job_id) > (coalesce(%(after_at)s::timestamptz, '-infinity'), %(after)s::uuid)
ORDER BY look_at, job_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
