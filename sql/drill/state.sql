-- Everything that a restore has to bring back, as PostgreSQL prints it: rows by table, and the counters without their times.
SELECT 'content_storage_metadata' AS place, t.id::text AS key, t.tenant_id::text AS tenant_id, row_to_json(t)::text AS printed
FROM content_storage_metadata t
UNION ALL
SELECT 'content_versions', t.id::text, t.tenant_id::text, row_to_json(t)::text FROM content_versions t
UNION ALL
SELECT 'media_assets', t.id::text, t.tenant_id::text, row_to_json(t)::text FROM media_assets t
UNION ALL
SELECT 'content_quota_usage', u.tenant_id::text, u.tenant_id::text,
       (to_jsonb(u) - '{last_calculated_at,updated_at,notified_percent,reserved_bytes}'::text[])::text
FROM content_quota_usage u
