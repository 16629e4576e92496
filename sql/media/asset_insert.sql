-- A row for a file that was dropped. Its size is recorded when its bytes are stored, so it counts as a file of 0 bytes.
INSERT INTO media_assets (id, tenant_id, brand_id, source, kind, url, zerodb_row_id, metadata)
VALUES (%(id)s, %(tenant_id)s, %(brand_id)s, %(source)s, %(kind)s, %(url)s, %(id)s::text, jsonb_build_object('name', %(name)s::text))
ON CONFLICT DO NOTHING
