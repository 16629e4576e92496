-- A file that was put, or found whole: the arbiter of what is stored once. One that was missing is there again.
INSERT INTO media_objects AS o (tenant_id, key, sha256, location, size_bytes, mime_type, state, etag, generation, verified_at)
VALUES (%(tenant_id)s, %(key)s, %(sha256)s, %(location)s, %(size_bytes)s, %(mime_type)s, %(state)s, %(etag)s, %(generation)s,
        clock_timestamp())
ON CONFLICT (tenant_id, key) DO UPDATE
SET location = excluded.location, size_bytes = excluded.size_bytes, mime_type = excluded.mime_type, state = excluded.state,
    etag = excluded.etag, generation = excluded.generation, verified_at = excluded.verified_at
