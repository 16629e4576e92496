-- Files whose tags are to be asked for again, longest waiting first.
SELECT p.sha256, p.description::text AS description, p.tags_attempts, a.name, count(*) OVER () AS waiting
FROM media_processing p
JOIN LATERAL (
    SELECT coalesce(metadata ->> 'name', url) AS name FROM media_assets
    WHERE tenant_id = p.tenant_id AND sha256 = p.sha256 AND status = 'stored' AND deleted_at IS NULL
    ORDER BY created_at, id
    LIMIT 1
) AS a ON true
WHERE p.tenant_id = %(tenant_id)s AND p.tags_state = 'wanted' AND p.tags_after <= clock_timestamp() AND p.made_with IS NOT NULL
ORDER BY p.tags_after, p.sha256
LIMIT %(most)s
