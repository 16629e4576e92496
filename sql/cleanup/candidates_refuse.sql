-- Never acted upon while it is so; asked about again later.
UPDATE render_candidates SET state = 'refused', reason = %(reason)s, look_at = %(at)s, seen_at = clock_timestamp()
WHERE job_id = %(job_id)s
