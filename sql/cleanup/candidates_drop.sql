-- Saved, gone or no render with a file: a trigger notes it again when that changes.
DELETE FROM render_candidates WHERE job_id = ANY(%(ids)s)
