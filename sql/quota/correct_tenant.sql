-- Adds what the counters were off by in the snapshot: what settled since stays. last_calculated_at is the guard against a
-- second correction from the same snapshot; greatest(), since what a writer without the ledger deleted is already off.
UPDATE content_quota_usage
SET plan_tier = %(plan_tier)s, limit_bytes = %(limit_bytes)s, usage_by_type = %(usage_by_type)s,
    used_bytes = greatest(0, used_bytes + %(used_bytes)s), reserved_bytes = greatest(0, reserved_bytes + %(reserved_bytes)s),
    content_items = greatest(0, content_items + %(content_items)s), media_files = greatest(0, media_files + %(media_files)s),
    media_bytes = greatest(0, media_bytes + %(media_bytes)s),
    last_calculated_at = greatest(clock_timestamp(), last_calculated_at + interval '1 microsecond'),
    updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND last_calculated_at IS NOT DISTINCT FROM %(seen_at)s
RETURNING used_bytes, reserved_bytes, content_items, media_files, media_bytes
