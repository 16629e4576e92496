-- Removes our content tables, and from the platform's legacy table just the columns that bear our mark.
DROP TABLE migration_quarantine, media_assets, content_versions, content_storage_metadata;

DO $$
DECLARE
    ours record;
BEGIN
    FOR ours IN
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'content_items'::regclass AND attnum > 0 AND NOT attisdropped
          AND col_description(attrelid, attnum) = 'added by content_orchestration'
    LOOP
        EXECUTE format('ALTER TABLE content_items DROP COLUMN %I', ours.attname);
    END LOOP;
END
$$;
