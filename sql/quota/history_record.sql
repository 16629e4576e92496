-- One row a tenant for this hour in UTC. A second look within the hour replaces the first: the hour's last state stands.
INSERT INTO usage_history (
    tenant_id, recorded_at, plan_tier, limit_bytes, used_bytes, reserved_bytes, content_items, media_files, media_bytes
)
SELECT u.tenant_id, date_trunc('hour', clock_timestamp(), 'UTC'), u.plan_tier, u.limit_bytes, u.used_bytes, u.reserved_bytes,
       u.content_items, u.media_files, u.media_bytes
FROM content_quota_usage u JOIN tenants t ON t.id = u.tenant_id
ON CONFLICT (tenant_id, recorded_at) DO UPDATE
SET plan_tier = excluded.plan_tier, limit_bytes = excluded.limit_bytes, used_bytes = excluded.used_bytes,
    reserved_bytes = excluded.reserved_bytes, content_items = excluded.content_items, media_files = excluded.media_files,
    media_bytes = excluded.media_bytes
RETURNING recorded_at
