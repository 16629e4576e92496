-- The bodies that the rows of these items name, all versions, and which of them wait in the spill. One statement, one snapshot.
SELECT content_id, version, row_table, row_id, tenant_id, zerodb_row_id, body_sha256, storage_size_bytes,
       EXISTS (SELECT FROM content_body_spill s WHERE s.zerodb_row_id = named.zerodb_row_id) AS spilled
FROM (
    (SELECT id AS content_id, version, 'content_storage_metadata' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_storage_metadata
     WHERE id = ANY (%(ids)s))
    UNION ALL
    (SELECT content_id, version, 'content_versions' AS row_table, id::text AS row_id, tenant_id::text AS tenant_id,
            zerodb_row_id, body_sha256, storage_size_bytes
     FROM content_versions
     WHERE content_id = ANY (%(ids)s))
) AS named
ORDER BY content_id, version, row_table
