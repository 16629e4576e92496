-- What one file must be, as its row says at this moment.
SELECT tenant_id, key, sha256, size_bytes, state FROM media_objects WHERE tenant_id = %(tenant_id)s AND key = %(key)s
UNION ALL
SELECT tenant_id, key, variant_sha256, bytes, 'stored' FROM media_variants WHERE tenant_id = %(tenant_id)s AND key = %(key)s
