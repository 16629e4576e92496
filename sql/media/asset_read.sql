-- A row of media_assets as ingest sees it, with how often it was tried.
SELECT m.id, m.tenant_id, m.brand_id, m.kind, m.url, m.mime_type, m.size_bytes, m.sha256, m.status, m.zerodb_row_id,
       coalesce(m.metadata ->> 'object_key', m.sha256) AS object_key, coalesce(i.attempts, 0) AS attempts,
       coalesce(i.document_due, false) AS document_due
FROM media_assets m
LEFT JOIN media_ingest i ON i.asset_id = m.id
WHERE m.id = %(id)s AND m.deleted_at IS NULL
