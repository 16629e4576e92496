-- They come back, and no scan looks at them for a while: whoever undoes a cleanup does not want it an hour later.
WITH back AS (
    UPDATE cleanup_quarantine SET state = 'restoring', error = 'undone' WHERE quarantine_id = ANY(%(ids)s) AND state IN ('moving', 'quarantined')
    RETURNING subject_id
)
INSERT INTO render_candidates (job_id, user_id, created_at, state, reason, look_at)
SELECT r.id, r.user_id, r.created_at, 'refused', 'undone', clock_timestamp() + make_interval(days => %(days)s)
FROM render_jobs r JOIN back b ON b.subject_id = r.id::text
ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, reason = excluded.reason, look_at = excluded.look_at
