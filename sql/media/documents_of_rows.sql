-- Files as their documents in ZeroDB say them.
SELECT zerodb_row_id AS id, content_id::text AS content_id, tenant_id::text AS tenant_id, kind, url, public_url, external_id, mime_type,
       size_bytes
FROM media_assets WHERE id = ANY (%(ids)s)
