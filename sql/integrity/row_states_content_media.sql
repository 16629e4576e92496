-- The rows of media_assets with some ids: payload hash, and the row version, which any change replaces.
SELECT t.id::text AS entity_id, t.tenant_id::text AS tenant_id, t.xmin::text AS row_version,
       encode(sha256(convert_to(row_to_json(t)::text, 'UTF8')), 'hex') AS row_sha256
FROM media_assets t
WHERE (%(tenant)s::uuid IS NULL OR t.tenant_id = %(tenant)s::uuid) AND t.id = ANY (%(ids)s::uuid[])
