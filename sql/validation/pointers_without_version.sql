-- Good is no row: each one is an item whose version has no record, or one with another body than the item names.
SELECT c.id AS content_id, c.tenant_id, c.version, c.zerodb_row_id, v.zerodb_row_id AS recorded_row_id,
       CASE WHEN v.id IS NULL THEN 'no version record' ELSE 'another body' END AS problem
FROM content_storage_metadata c
LEFT JOIN content_versions v ON v.content_id = c.id AND v.version = c.version
WHERE v.id IS NULL OR v.zerodb_row_id <> c.zerodb_row_id OR v.body_sha256 <> c.body_sha256
ORDER BY c.id
LIMIT 100
