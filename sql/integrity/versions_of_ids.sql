-- What the documents of these version records have to say; while a body waits in the spill, its version's document does too.
SELECT id, tenant_id::text AS tenant_id, zerodb_row_id,
       jsonb_build_object('content_id', content_id, 'tenant_id', tenant_id, 'version', version, 'changed_by', changed_by,
                          'change_reason', change_reason, 'body_sha256', body_sha256,
                          'patch', coalesce(patch -> 'operations', patch)) AS expected,
       EXISTS (SELECT FROM content_body_spill s WHERE s.zerodb_row_id = content_versions.zerodb_row_id) AS spilled
FROM content_versions
WHERE id = ANY (%(ids)s)
ORDER BY id
