-- Every row of a tenant in content_storage_metadata, by key, for a snapshot.
SELECT 'upsert' AS op, r.id::text AS entity_id, r.tenant_id::text AS tenant_id, r.id::text AS content_id,
       r.brand_id::text AS brand_id, r.title, r.content_type, r.status, r.version, r.zerodb_row_id, r.storage_size_bytes, r.source,
       r.metadata::text AS metadata,
       CASE WHEN r.created_at >= '0001-01-01 00:00:00+00' AND r.created_at < '10000-01-01 00:00:00+00' THEN r.created_at END AS created_at,
       CASE WHEN r.updated_at >= '0001-01-01 00:00:00+00' AND r.updated_at < '10000-01-01 00:00:00+00' THEN r.updated_at END AS updated_at,
       CASE WHEN r.deleted_at >= '0001-01-01 00:00:00+00' AND r.deleted_at < '10000-01-01 00:00:00+00' THEN r.deleted_at END AS deleted_at,
       r.body_sha256,
       row_to_json(r)::text AS row_json
FROM content_storage_metadata r
WHERE r.tenant_id = %(tenant_id)s
ORDER BY r.id
