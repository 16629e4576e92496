-- Good is no row: each one is an item whose version records are not 1, 2, 3 … up to the version that it points to.
SELECT c.id AS content_id, c.tenant_id, c.version AS points_to, count(v.version) AS records, min(v.version) AS first_record,
       max(v.version) AS last_record
FROM content_storage_metadata c
LEFT JOIN content_versions v ON v.content_id = c.id
GROUP BY c.id, c.tenant_id, c.version
HAVING count(v.version) <> c.version OR min(v.version) IS DISTINCT FROM 1 OR max(v.version) IS DISTINCT FROM c.version
ORDER BY c.id
LIMIT 100
