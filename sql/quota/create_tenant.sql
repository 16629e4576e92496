-- The counters of a tenant that had none, as the snapshot saw its rows. Whoever made them since began with rows of its own.
INSERT INTO content_quota_usage (
    tenant_id, plan_tier, limit_bytes, usage_by_type, used_bytes, reserved_bytes, content_items, media_files, media_bytes,
    last_calculated_at, updated_at
)
VALUES (%(tenant_id)s, %(plan_tier)s, %(limit_bytes)s, %(usage_by_type)s, %(used_bytes)s, %(reserved_bytes)s,
        %(content_items)s, %(media_files)s, %(media_bytes)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (tenant_id) DO NOTHING
RETURNING used_bytes, reserved_bytes, content_items, media_files, media_bytes
