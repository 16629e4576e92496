-- Takes over a restore that was cut off; no row where none of this plan is open.
UPDATE restore_runs SET attempts = attempts + 1, run_id = %(run_id)s
WHERE plan_hash = %(plan_hash)s AND request = %(request)s::jsonb AND status = 'open'
RETURNING restore_id::text AS restore_id, plan, attempts
