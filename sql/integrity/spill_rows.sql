-- Bodies in the spill, their bytes hashed here, beside the rows that name them. One statement, one snapshot.
SELECT s.zerodb_row_id, s.content_id::text AS content_id, s.tenant_id::text AS tenant_id, s.created_at, n.rows,
       array_remove(ARRAY[
           CASE WHEN h.sha256 <> s.body_sha256 THEN 'body_sha256' END,
           CASE WHEN octet_length(h.body) <> s.size_bytes THEN 'size_bytes' END], NULL) AS own,
       array_remove(ARRAY[
           CASE WHEN NOT n.sha256 THEN 'body_sha256' END,
           CASE WHEN NOT n.size THEN 'size_bytes' END,
           CASE WHEN NOT n.tenant THEN 'tenant_id' END,
           CASE WHEN NOT n.version THEN 'version' END], NULL) AS of_rows
FROM content_body_spill s
CROSS JOIN LATERAL (SELECT convert_to(s.body, 'UTF8') AS body, encode(sha256(convert_to(s.body, 'UTF8')), 'hex') AS sha256) AS h
CROSS JOIN LATERAL (
    SELECT count(*) AS rows, bool_and(r.body_sha256 = s.body_sha256) AS sha256,
           bool_and(r.storage_size_bytes = s.size_bytes) AS size, bool_and(r.tenant_id = s.tenant_id) AS tenant,
           bool_and(r.version = s.version) AS version
    FROM (
        SELECT zerodb_row_id, body_sha256, storage_size_bytes, tenant_id, version
        FROM content_storage_metadata WHERE id = s.content_id
        UNION ALL
        SELECT zerodb_row_id, body_sha256, storage_size_bytes, tenant_id, version
        FROM content_versions WHERE content_id = s.content_id
    ) AS r
    WHERE r.zerodb_row_id = s.zerodb_row_id
) AS n
WHERE %(tenant)s::uuid IS NULL OR s.tenant_id = %(tenant)s
