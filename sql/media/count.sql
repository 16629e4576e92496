-- Moves the counters of a brand and its tenant by what a reference changes; what goes up must fit.
SELECT outcome, used, reserved, quota, plan FROM media_count(%(tenant_id)s, %(brand_id)s, %(brand_bytes)s, %(bytes)s, %(files)s)
