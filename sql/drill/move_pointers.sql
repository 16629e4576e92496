-- Items get their next version: its body is written by then, so the pointer moves last.
UPDATE content_storage_metadata c
SET title = r.title, version = r.version, zerodb_row_id = r.zerodb_row_id, body_sha256 = r.body_sha256,
    storage_size_bytes = r.storage_size_bytes, updated_at = r.updated_at
FROM jsonb_populate_recordset(NULL::content_storage_metadata, %(rows)s::jsonb) r
WHERE c.id = r.id
