-- Good is no row: each one is a trigger that is missing or switched off, so what is written there is not replicated.
SELECT t.table_name, t.trigger_name, CASE WHEN g.oid IS NULL THEN 'missing' ELSE 'switched off' END AS problem
FROM (
    SELECT table_name, trigger_name
    FROM unnest(ARRAY['content_storage_metadata', 'content_versions', 'media_assets']) AS table_name,
         unnest(ARRAY['record_insert', 'record_update', 'record_delete', 'record_truncate', 'keep_id']) AS trigger_name
    UNION ALL
    SELECT 'cleanup_audit', unnest(ARRAY['record_insert', 'append_only'])
) AS t
LEFT JOIN pg_trigger g ON g.tgrelid = to_regclass('public.' || t.table_name) AND g.tgname = t.trigger_name
WHERE g.oid IS NULL OR g.tgenabled NOT IN ('O', 'A')
ORDER BY 1, 2
