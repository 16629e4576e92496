-- A tenant's recorded usage from one moment to before another.
SELECT recorded_at, plan_tier, limit_bytes, used_bytes, reserved_bytes, content_items, media_files, media_bytes
FROM usage_history
WHERE tenant_id = %(tenant_id)s AND recorded_at >= %(start)s AND recorded_at < %(end)s
ORDER BY recorded_at
