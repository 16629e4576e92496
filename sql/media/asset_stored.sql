-- A row references a stored file from here on: its hash, and size, kind and type by its bytes.
UPDATE media_assets
SET sha256 = %(sha256)s, size_bytes = %(size_bytes)s, mime_type = %(mime_type)s, kind = %(kind)s, status = 'stored',
    metadata = CASE WHEN %(key)s::text = %(sha256)s::text THEN metadata - 'object_key'
                    ELSE metadata || jsonb_build_object('object_key', %(key)s::text) END,
    updated_at = greatest(clock_timestamp(), updated_at)
WHERE id = %(id)s
