-- Items of the tenant by id; the tenant is named here and enforced by row-level security besides.
SELECT * FROM content_storage_metadata
WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s)
