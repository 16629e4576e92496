-- Every row of a tenant in media_assets, by key, for a snapshot.
SELECT 'upsert' AS op, r.id::text AS entity_id, r.tenant_id::text AS tenant_id, r.content_id::text AS content_id,
       r.brand_id::text AS brand_id, r.kind, r.url, r.mime_type, r.size_bytes, r.sha256, r.status,
       CASE WHEN r.created_at >= '0001-01-01 00:00:00+00' AND r.created_at < '10000-01-01 00:00:00+00' THEN r.created_at END AS created_at,
       CASE WHEN r.updated_at >= '0001-01-01 00:00:00+00' AND r.updated_at < '10000-01-01 00:00:00+00' THEN r.updated_at END AS updated_at,
       CASE WHEN r.deleted_at >= '0001-01-01 00:00:00+00' AND r.deleted_at < '10000-01-01 00:00:00+00' THEN r.deleted_at END AS deleted_at,
       row_to_json(r)::text AS row_json
FROM media_assets r
WHERE r.tenant_id = %(tenant_id)s
ORDER BY r.id
