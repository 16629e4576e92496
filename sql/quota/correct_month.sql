-- Adds what a month's counter was off by in the snapshot, and brings the plan's limit.
UPDATE quota_generation_usage
SET used_items = greatest(0, used_items + %(used_items)s), reserved_items = greatest(0, reserved_items + %(reserved_items)s),
    limit_items = %(limit_items)s, updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND month = %(month)s
RETURNING tenant_id
