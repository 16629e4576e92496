-- Items as the migration makes them from content_items: a user and a campaign are not known, the metadata is small.
INSERT INTO content_storage_metadata (
    id, tenant_id, brand_id, title, content_type, status, zerodb_row_id, body_sha256, storage_size_bytes, version, source, metadata,
    created_at, updated_at
)
SELECT k.id, %(tenant_id)s, md5('brand ' || mod(i, 200))::uuid,
       'How to ' || (ARRAY['plan', 'price', 'launch', 'write'])[1 + mod(i, 4)] || ' item ' || i,
       (ARRAY['article', 'post', 'email'])[1 + mod(i, 3)], (ARRAY['published', 'draft'])[1 + mod(i, 2)],
       k.id || '.v1', encode(sha256(i::text::bytea), 'hex'), mod(i, 9000), 1, 'content_items:' || md5('source ' || i)::uuid,
       jsonb_build_object('language', 'en', 'score', mod(i, 1000) / 10, 'tags', jsonb_build_array('tag ' || mod(i, 100))),
       timestamptz '2025-01-01Z' + i * interval '1.234567 s', timestamptz '2025-06-01Z' + i * interval '1.765432 s'
FROM generate_series(1, %(rows)s) AS i, LATERAL (SELECT md5('item ' || i)::uuid AS id) AS k
