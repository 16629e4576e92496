-- Tenants that have or had files in the object store.
SELECT tenant_id FROM media_objects
UNION SELECT tenant_id FROM media_variants
UNION SELECT tenant_id FROM media_superseded
UNION SELECT tenant_id FROM media_processing
ORDER BY tenant_id
