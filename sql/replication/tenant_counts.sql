-- Rows of each tenant in one replicated table, tenants without any included.
SELECT t.id::text AS tenant_id, count(r.tenant_id) AS rows
FROM tenants t
LEFT JOIN (
    SELECT tenant_id FROM content_storage_metadata WHERE %(entity)s = 'content_storage'
    UNION ALL SELECT tenant_id FROM content_versions WHERE %(entity)s = 'content_versions'
    UNION ALL SELECT tenant_id FROM media_assets WHERE %(entity)s = 'content_media'
) AS r ON r.tenant_id = t.id
GROUP BY t.id
