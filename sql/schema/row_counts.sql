-- Exact counts of the tables of the demo-sized summary; large tables are estimated in operations, not here.
SELECT 'content_storage_metadata' AS table_name, count(*) AS rows FROM content_storage_metadata
UNION ALL SELECT 'content_versions', count(*) FROM content_versions
UNION ALL SELECT 'media_assets', count(*) FROM media_assets
UNION ALL SELECT 'content_quota_usage', count(*) FROM content_quota_usage
UNION ALL SELECT 'migration_quarantine', count(*) FROM migration_quarantine WHERE resolved_at IS NULL
UNION ALL SELECT 'content_changes', count(*) FROM content_changes
