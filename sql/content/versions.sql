-- The versions of an item of the tenant, the newest first.
SELECT v.version, v.zerodb_row_id, v.body_sha256, v.storage_size_bytes, v.changed_by, v.change_reason,
       v.patch -> 'operations' AS patch, v.created_at
FROM content_versions v
WHERE v.tenant_id = %(tenant_id)s AND v.content_id = %(id)s
ORDER BY v.version DESC
