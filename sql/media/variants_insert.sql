-- A variant of a stored file, as it was made last.
INSERT INTO media_variants (tenant_id, sha256, width, format, height, key, bytes, variant_sha256, settings)
VALUES (%(tenant_id)s, %(sha256)s, %(width)s, %(format)s, %(height)s, %(key)s, %(bytes)s, %(variant_sha256)s,
        jsonb_build_object('made_with', %(made_with)s::text))
ON CONFLICT (tenant_id, sha256, width, format) DO UPDATE
SET height = excluded.height, key = excluded.key, bytes = excluded.bytes, variant_sha256 = excluded.variant_sha256,
    settings = excluded.settings, created_at = excluded.created_at
