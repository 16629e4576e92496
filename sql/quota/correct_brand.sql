-- Adds what a brand's counter was off by in the snapshot. The guard is the tenant's, later in the same transaction.
UPDATE storage_quotas
SET used_bytes = greatest(0, used_bytes + %(used_bytes)s), reserved_bytes = greatest(0, reserved_bytes + %(reserved_bytes)s)
WHERE brand_id = %(brand_id)s
RETURNING brand_id
