-- Room in every scope or in none, in one round trip: revision 0018 has the function.
SELECT * FROM quota_reserve(
    %(tenant_id)s, %(brand_id)s, %(bytes)s, %(items)s, %(media_bytes)s, %(reason)s, %(generated)s, %(ttl)s, %(key)s, %(plans)s::jsonb)
