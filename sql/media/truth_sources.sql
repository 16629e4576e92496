-- The sources of a tenant's variants, these or all: the keys under which their bytes are, none where no object is known.
SELECT v.sha256, count(*) AS variants,
       (SELECT coalesce(array_agg(o.key ORDER BY o.key), '{}') FROM media_objects o
        WHERE o.tenant_id = %(tenant_id)s AND o.sha256 = v.sha256) AS keys
FROM media_variants v
WHERE v.tenant_id = %(tenant_id)s AND (%(hashes)s::text[] IS NULL OR v.sha256 = ANY (%(hashes)s))
GROUP BY v.sha256
ORDER BY v.sha256
