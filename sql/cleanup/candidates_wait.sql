-- Too young: looked at again when it is old enough, and once a day where its times lie ahead.
UPDATE render_candidates c SET state = 'waiting', reason = NULL, seen_at = clock_timestamp(),
       look_at = least(greatest(r.created_at, r.updated_at, c.since) + %(age)s, %(latest)s)
FROM render_jobs r WHERE r.id = c.job_id AND c.job_id = ANY(%(ids)s)
