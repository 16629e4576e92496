-- Takes what a purged item's files freed out of the counters of one brand, or of the tenant.
SELECT outcome FROM media_count(%(tenant_id)s, %(brand_id)s::uuid, %(brand_bytes)s::bigint, %(bytes)s::bigint, %(files)s::bigint)
