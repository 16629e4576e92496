-- What the document of each file has to say, for a tenant or all.
SELECT id, tenant_id::text AS tenant_id, zerodb_row_id,
       jsonb_build_object('content_id', content_id, 'tenant_id', tenant_id, 'kind', kind, 'url', url, 'public_url', public_url,
                          'external_id', external_id, 'mime_type', mime_type, 'size_bytes', size_bytes) AS expected
FROM media_assets
WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s
