-- The live rows that name a stored file, and where the file is; the oldest row first.
SELECT a.id, coalesce(a.metadata ->> 'name', a.url) AS name, o.key, o.size_bytes
FROM media_assets a
JOIN LATERAL (
    SELECT key, size_bytes FROM media_objects
    WHERE tenant_id = a.tenant_id AND sha256 = a.sha256 AND state = 'stored'
    ORDER BY key
    LIMIT 1
) AS o ON true
WHERE a.tenant_id = %(tenant_id)s AND a.sha256 = %(sha256)s AND a.status IN ('stored', 'failed') AND a.deleted_at IS NULL
ORDER BY a.created_at, a.id
