-- Good is what you expect: write it down before a restore and compare after it. Rows and bytes a tenant, newest change last seen.
SELECT t.id AS tenant_id, t.name,
       (SELECT count(*) FROM content_storage_metadata c WHERE c.tenant_id = t.id) AS items,
       (SELECT count(*) FROM content_storage_metadata c WHERE c.tenant_id = t.id AND c.deleted_at IS NOT NULL) AS soft_deleted,
       (SELECT count(*) FROM content_versions v WHERE v.tenant_id = t.id) AS versions,
       (SELECT count(*) FROM media_assets m WHERE m.tenant_id = t.id) AS media,
       (SELECT coalesce(sum(storage_size_bytes), 0) FROM content_storage_metadata c WHERE c.tenant_id = t.id) AS body_bytes,
       (SELECT max(updated_at) FROM content_storage_metadata c WHERE c.tenant_id = t.id) AS newest_change
FROM tenants t
ORDER BY t.id
