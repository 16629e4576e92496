-- The bodies that the rows of one tenant name, in order of content id and version.
SELECT content_id, version, row_table, row_id, tenant_id, zerodb_row_id, body_sha256, storage_size_bytes
FROM (
    (SELECT id AS content_id, version, 'content_storage_metadata' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_storage_metadata
     WHERE tenant_id = %(tenant)s)
    UNION ALL
    (SELECT content_id, version, 'content_versions' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_versions
     WHERE tenant_id = %(tenant)s)
) AS named
ORDER BY content_id, version, row_table
