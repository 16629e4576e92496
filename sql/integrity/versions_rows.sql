-- What the document of each version record has to say, for a tenant or all.
SELECT id, tenant_id::text AS tenant_id, zerodb_row_id,
       jsonb_build_object('content_id', content_id, 'tenant_id', tenant_id, 'version', version, 'changed_by', changed_by,
                          'change_reason', change_reason, 'body_sha256', body_sha256,
                          'patch', coalesce(patch -> 'operations', patch)) AS expected
FROM content_versions
WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s
