-- What is stored, by type: saved and uploaded assets as the platform counts them, media of content, and what waits in quarantine.
SELECT coalesce(asset_type, 'no type') AS type, 'user_assets' AS source, count(*) AS items, coalesce(sum(file_size), 0)::bigint AS bytes
FROM user_assets GROUP BY 1
UNION ALL
SELECT kind, 'media_assets', count(*), coalesce(sum(size_bytes), 0)::bigint FROM media_assets WHERE deleted_at IS NULL GROUP BY 1
UNION ALL
SELECT 'quarantine', kind, count(*), coalesce(sum(size_bytes), 0)::bigint FROM cleanup_quarantine
WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting') GROUP BY 2
ORDER BY bytes DESC, source, type
