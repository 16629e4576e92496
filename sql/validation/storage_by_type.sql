-- Good is what you expect: write it down before a cleanup and compare after it. Items and bytes by type, the largest first: assets
-- of users as the platform recorded them, media of content, bodies, and what waits in quarantine. Reads only.
SELECT 'user asset' AS what, coalesce(asset_type, 'no type') AS type, count(*) AS items, coalesce(sum(file_size), 0)::bigint AS bytes,
       min(created_at) AS oldest, max(created_at) AS newest
FROM user_assets GROUP BY 2
UNION ALL
SELECT 'media of content', kind, count(*), coalesce(sum(size_bytes), 0)::bigint, min(created_at), max(created_at)
FROM media_assets WHERE deleted_at IS NULL GROUP BY 2
UNION ALL
SELECT 'body of content', content_type, count(*), coalesce(sum(storage_size_bytes), 0)::bigint, min(created_at), max(created_at)
FROM content_storage_metadata WHERE deleted_at IS NULL GROUP BY 2
UNION ALL
SELECT 'deleted, not purged yet', content_type, count(*), coalesce(sum(storage_size_bytes), 0)::bigint, min(deleted_at), max(deleted_at)
FROM content_storage_metadata WHERE deleted_at IS NOT NULL GROUP BY 2
UNION ALL
SELECT 'in quarantine', kind, count(*), coalesce(sum(size_bytes), 0)::bigint, min(quarantined_at), max(quarantined_at)
FROM cleanup_quarantine WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting') GROUP BY 2
ORDER BY bytes DESC, what, type
