-- Marks rows as changed, so that the next window carries them as they are then. A row that goes meanwhile leaves a tombstone of its own.
INSERT INTO content_changes (entity, entity_id, tenant_id, op)
SELECT %(entity)s, r.id, r.tenant_id, 'U'
FROM (
    SELECT id, tenant_id FROM content_storage_metadata WHERE %(entity)s = 'content_storage'
    UNION ALL
    SELECT id, tenant_id FROM content_versions WHERE %(entity)s = 'content_versions'
    UNION ALL
    SELECT id, tenant_id FROM media_assets WHERE %(entity)s = 'content_media'
    UNION ALL
    SELECT id, tenant_id FROM cleanup_audit WHERE %(entity)s = 'cleanup_audit'
) AS r
WHERE r.id = ANY (%(ids)s::uuid[])
RETURNING entity_id::text AS entity_id
