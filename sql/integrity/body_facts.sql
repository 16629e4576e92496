-- What rows say of these body documents. Items and versions name the same ones; an old version has no item that points to it.
SELECT m.zerodb_row_id, m.id::text AS content_id, m.tenant_id::text AS tenant_id, m.version, m.body_sha256, m.storage_size_bytes,
       m.title, m.content_type
FROM content_storage_metadata m WHERE m.zerodb_row_id = ANY (%(ids)s)
UNION ALL
SELECT v.zerodb_row_id, v.content_id::text, v.tenant_id::text, v.version, v.body_sha256, v.storage_size_bytes, m.title, m.content_type
FROM content_versions v LEFT JOIN content_storage_metadata m ON m.id = v.content_id
WHERE v.zerodb_row_id = ANY (%(ids)s)
