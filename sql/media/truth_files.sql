-- The next files that rows name, originals and variants, behind a position; what each must be.
SELECT tenant_id, key, sha256, size_bytes, state
FROM (
    SELECT tenant_id, key, sha256, size_bytes, state FROM media_objects
    WHERE (tenant_id, key) > (%(tenant_id)s::uuid, %(key)s)
    UNION ALL
    SELECT tenant_id, key, variant_sha256, bytes, 'stored' FROM media_variants
    WHERE (tenant_id, key) > (%(tenant_id)s::uuid, %(key)s)
) AS files
ORDER BY tenant_id, key
LIMIT %(most)s
