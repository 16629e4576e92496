-- New versions of some items: the bodies are written already, the pointers move.
UPDATE content_storage_metadata r
SET version = n.version, zerodb_row_id = r.id || '.v' || n.version, body_sha256 = n.body_sha256, storage_size_bytes = n.size_bytes,
    updated_at = now()
FROM unnest(%(ids)s::uuid[], %(versions)s::integer[], %(hashes)s::text[], %(sizes)s::bigint[]) AS n (id, version, body_sha256, size_bytes)
WHERE r.id = n.id
