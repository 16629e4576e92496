-- Good is no row: each one is a table that a restore needs and that is not there. Then: recreate_missing_tables, in the runbook.
SELECT wanted AS missing_table
FROM unnest(ARRAY['content_storage_metadata', 'content_versions', 'media_assets', 'content_quota_usage', 'content_changes',
                  'replication_cursor', 'replication_windows', 'replication_parts', 'content_body_spill', 'restore_runs', 'cleanup_audit']) AS wanted
WHERE to_regclass('public.' || wanted) IS NULL
