-- Brought back without a save: a candidate again. One that undo protects has its note already.
INSERT INTO render_candidates (job_id, user_id, created_at)
SELECT r.id, r.user_id, r.created_at FROM render_jobs r
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.status = 'completed' AND r.output_url <> ''
ON CONFLICT (job_id) DO NOTHING
