-- A stored file of a tenant, locked against whoever else counts or removes references to it.
SELECT tenant_id, key, sha256, location, size_bytes, mime_type, state, etag, generation, phash, stored_at, verified_at
FROM media_objects WHERE tenant_id = %(tenant_id)s AND key = %(key)s FOR UPDATE
