-- Bodies that ZeroDB would not take; they count as stored. The rest of the document waits beside the body.
INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes, document)
SELECT n.* FROM unnest(
    %(zerodb_row_id)s::text[], %(tenant_id)s::uuid[], %(content_id)s::uuid[], %(version)s::int[], %(body)s::text[],
    %(body_sha256)s::text[], %(size_bytes)s::bigint[], %(document)s::jsonb[]
) AS n
