-- Removes the change log with its triggers and the record of the windows. BigQuery keeps its history.
DO $$
DECLARE
    captured text;
    trigger_name text;
BEGIN
    FOREACH captured IN ARRAY ARRAY['content_storage_metadata', 'content_versions', 'media_assets'] LOOP
        FOREACH trigger_name IN ARRAY ARRAY['record_insert', 'record_update', 'record_delete', 'record_truncate', 'keep_id'] LOOP
            EXECUTE format('DROP TRIGGER %I ON %I', trigger_name, captured);
        END LOOP;
    END LOOP;
END
$$;
DROP TABLE replication_quarantine, replication_parts, replication_backfills, replication_windows, replication_cursor,
    content_body_spill, replication_heartbeat, content_changes;
DROP FUNCTION record_content_changes(), record_content_truncate(), refuse_id_change(),
    prepare_change_log(integer), drop_replicated_changes(xid8);
