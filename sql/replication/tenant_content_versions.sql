-- Every row of a tenant in content_versions, by key, for a snapshot.
SELECT 'upsert' AS op, r.id::text AS entity_id, r.tenant_id::text AS tenant_id, r.content_id::text AS content_id,
       r.version, r.zerodb_row_id, r.storage_size_bytes, r.changed_by, r.change_reason,
       CASE WHEN r.created_at >= '0001-01-01 00:00:00+00' AND r.created_at < '10000-01-01 00:00:00+00' THEN r.created_at END AS created_at,
       r.body_sha256,
       row_to_json(r)::text AS row_json
FROM content_versions r
WHERE r.tenant_id = %(tenant_id)s
ORDER BY r.id
