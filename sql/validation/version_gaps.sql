-- Good is no row: each one is an item whose version records do not follow one another up to the version that it points to.
-- They begin at 1, or where retention left off (first_kept).
SELECT c.id AS content_id, c.tenant_id, c.version AS points_to, coalesce(f.floor, 1) AS first_kept, count(v.version) AS records,
       min(v.version) AS first_record, max(v.version) AS last_record
FROM content_storage_metadata c
LEFT JOIN retention_floors f ON f.content_id = c.id
LEFT JOIN content_versions v ON v.content_id = c.id
GROUP BY c.id, c.tenant_id, c.version, f.floor
HAVING count(v.version) <> c.version - min(v.version) + 1 OR coalesce(min(v.version) > coalesce(f.floor, 1), true)
    OR max(v.version) IS DISTINCT FROM c.version
ORDER BY c.id
LIMIT 100
