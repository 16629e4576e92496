-- Usage from the truth, in the snapshot of one statement: items and files that are not deleted. Readers and writers of
-- content are not blocked; reserved_bytes and notified_percent belong to the ledger and stay.
WITH content AS (
    SELECT content_type AS kind, count(*) AS items, sum(storage_size_bytes)::bigint AS bytes
    FROM content_storage_metadata WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL GROUP BY content_type
), media AS (
    SELECT 'media_' || kind AS kind, count(*) AS items, sum(size_bytes)::bigint AS bytes
    FROM media_assets WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL GROUP BY kind
), truth AS (
    SELECT coalesce((SELECT sum(items) FROM content), 0)::bigint AS content_items,
           coalesce((SELECT sum(items) FROM media), 0)::bigint AS media_files,
           coalesce((SELECT sum(bytes) FROM media), 0)::bigint AS media_bytes,
           coalesce((SELECT sum(bytes) FROM content), 0)::bigint AS content_bytes,
           coalesce((SELECT jsonb_object_agg(kind, jsonb_build_object('items', items, 'bytes', bytes))
                     FROM (SELECT * FROM content UNION ALL SELECT * FROM media) AS kinds), '{}') AS usage_by_type
), before AS (
    SELECT used_bytes FROM content_quota_usage WHERE tenant_id = %(tenant_id)s
)
INSERT INTO content_quota_usage (
    tenant_id, plan_tier, limit_bytes, used_bytes, content_items, media_files, media_bytes, usage_by_type,
    last_calculated_at, updated_at
)
SELECT %(tenant_id)s, %(plan_tier)s, %(limit_bytes)s, content_bytes + media_bytes, content_items, media_files, media_bytes,
       usage_by_type, now(), now()
FROM truth
ON CONFLICT (tenant_id) DO UPDATE
SET plan_tier = excluded.plan_tier, limit_bytes = excluded.limit_bytes, used_bytes = excluded.used_bytes,
    content_items = excluded.content_items, media_files = excluded.media_files, media_bytes = excluded.media_bytes,
    usage_by_type = excluded.usage_by_type, last_calculated_at = excluded.last_calculated_at, updated_at = excluded.updated_at
RETURNING used_bytes, content_items, media_files, media_bytes, usage_by_type, (SELECT used_bytes FROM before) AS before_bytes
