-- Orphans that the next quarantine pass takes, after it asked again.
UPDATE render_candidates SET state = 'orphan', reason = NULL, seen_at = clock_timestamp() WHERE job_id = ANY(%(ids)s)
