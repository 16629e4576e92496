-- A restore, before its first write.
INSERT INTO restore_runs (plan_hash, request, plan, as_of_sync_id, target, run_id)
VALUES (%(plan_hash)s, %(request)s::jsonb, %(plan)s::jsonb, %(as_of_sync_id)s, %(target)s, %(run_id)s)
RETURNING restore_id::text AS restore_id, attempts
