-- The bodies that rows name, in order of content id and version from beyond a position: items and versions, two rows for most.
SELECT content_id, version, row_table, row_id, tenant_id, zerodb_row_id, body_sha256, storage_size_bytes
FROM (
    (SELECT id AS content_id, version, 'content_storage_metadata' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_storage_metadata
     WHERE id >= %(content_id)s AND (id, version) > (%(content_id)s, %(version)s)
     ORDER BY id, version LIMIT %(limit)s)
    UNION ALL
    (SELECT content_id, version, 'content_versions' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_versions
     WHERE (content_id, version) > (%(content_id)s, %(version)s)
     ORDER BY content_id, version LIMIT %(limit)s)
) AS named
ORDER BY content_id, version, row_table
LIMIT %(limit)s
