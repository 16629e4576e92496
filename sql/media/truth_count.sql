-- How many files rows name, and how many of them are behind a position.
SELECT count(*) AS files, count(*) FILTER (WHERE (tenant_id, key) > (%(tenant_id)s::uuid, %(key)s)) AS ahead
FROM (SELECT tenant_id, key FROM media_objects UNION ALL SELECT tenant_id, key FROM media_variants) AS files
