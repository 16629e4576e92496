-- Tenants apart: roles with the least that they need, row-level security on every table of ours with a tenant; titles to search.

-- Beside the body of a spilled document: all else that it says. Bodies spilled by other writers have none.
ALTER TABLE content_body_spill ADD COLUMN document jsonb CHECK (jsonb_typeof(document) = 'object');

-- The words of titles, apart from the items: an index on the hot table would cost every update of it.
CREATE TABLE content_title_words (
    content_id uuid     PRIMARY KEY,
    tenant_id  uuid     NOT NULL,
    words      tsvector NOT NULL
);
CREATE INDEX content_title_words_words ON content_title_words USING gin (words);
CREATE INDEX content_title_words_tenant ON content_title_words (tenant_id);

CREATE FUNCTION index_titles() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO content_title_words
        SELECT n.id, n.tenant_id, to_tsvector('simple', n.title) FROM new_rows n
        ON CONFLICT (content_id) DO UPDATE SET tenant_id = excluded.tenant_id, words = excluded.words;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO content_title_words
        SELECT n.id, n.tenant_id, to_tsvector('simple', n.title) FROM new_rows n
        JOIN old_rows o ON o.id = n.id WHERE (o.title, o.tenant_id) IS DISTINCT FROM (n.title, n.tenant_id)
        ON CONFLICT (content_id) DO UPDATE SET tenant_id = excluded.tenant_id, words = excluded.words;
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM content_title_words w USING old_rows o WHERE w.content_id = o.id;
    ELSE
        TRUNCATE content_title_words;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER index_titles_insert AFTER INSERT ON content_storage_metadata REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION index_titles();
CREATE TRIGGER index_titles_update AFTER UPDATE ON content_storage_metadata REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION index_titles();
CREATE TRIGGER index_titles_delete AFTER DELETE ON content_storage_metadata REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION index_titles();
CREATE TRIGGER index_titles_truncate AFTER TRUNCATE ON content_storage_metadata
    FOR EACH STATEMENT EXECUTE FUNCTION index_titles();
INSERT INTO content_title_words SELECT id, tenant_id, to_tsvector('simple', title) FROM content_storage_metadata;

-- The drain takes the oldest first.
CREATE INDEX content_body_spill_oldest ON content_body_spill (created_at, zerodb_row_id);

-- Roles belong to the cluster: another database of it may have made them already.
--   content_app       what serves a tenant: sees and writes that tenant's rows only
--   content_worker    jobs: all tenants, no schema changes
--   content_readonly  analysts and support: one tenant's rows, nothing to write
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['content_app', 'content_worker', 'content_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database's migration was faster
            END;
        END IF;
        -- Row-level security is forced on the owner too; as a member of content_worker it works on.
        IF NOT pg_has_role(current_user, wanted, 'USAGE') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
END
$$;

DO $$
DECLARE
    walled text;
    own_rows text;
BEGIN
    FOREACH walled IN ARRAY ARRAY[
        'content_storage_metadata', 'content_versions', 'media_assets', 'content_title_words', 'content_body_spill',
        'content_changes', 'content_generation_jobs',
        'content_quota_usage', 'storage_quotas', 'quota_generation_usage', 'quota_reservations', 'quota_notices',
        'quota_notice_throttle', 'usage_history',
        'replication_heartbeat', 'replication_backfills', 'replication_quarantine',
        'integrity_reports', 'integrity_differences', 'integrity_repairs', 'restore_quarantine'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        -- Without app.tenant_id the comparison is with NULL, and no row passes.
        SELECT format('tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::%s', format_type(atttypid, NULL))
        INTO STRICT own_rows FROM pg_attribute WHERE attrelid = walled::regclass AND attname = 'tenant_id';
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly USING (%s) WITH CHECK (%s)',
                       walled, own_rows, own_rows);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO content_worker', walled);
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO content_app, content_worker, content_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON content_storage_metadata TO content_app;
GRANT SELECT, INSERT, DELETE ON content_versions, content_body_spill TO content_app;
GRANT SELECT, INSERT, UPDATE ON media_assets TO content_app;
GRANT SELECT, INSERT, UPDATE ON content_quota_usage, storage_quotas, quota_generation_usage, quota_reservations TO content_app;
GRANT SELECT ON content_title_words, quota_notices, usage_history, content_generation_jobs TO content_app;
GRANT SELECT ON content_storage_metadata, content_versions, media_assets, content_title_words, content_quota_usage, storage_quotas,
    quota_generation_usage, quota_notices, usage_history, content_generation_jobs TO content_readonly;
-- The ledger asks which plan a tenant has and whose a brand is, and no more.
GRANT SELECT (id, plan_tier) ON tenants TO content_app;
GRANT SELECT (id, tenant_id) ON brands TO content_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON migration_quarantine, replication_cursor, replication_windows, replication_parts,
    body_scrub_progress, warehouse_scrub_progress, restore_runs, restore_progress, restore_drills TO content_worker;
GRANT SELECT ON tenants, brands, users, topics, articles, campaign_assets, render_jobs, user_assets TO content_worker;
GRANT SELECT, UPDATE (zerodb_id, storage_size_bytes, migrated_at) ON content_items TO content_worker;

-- Titles of the tenant in app.tenant_id that match. Row-level security lets no index answer `@@`, which PostgreSQL does
-- not hold to be leakproof, so this runs as its owner and names the tenant itself.
CREATE FUNCTION content_titles_matching(query tsquery, most integer) RETURNS TABLE (content_id uuid, rank real)
-- plpgsql looks tables up when it runs: lost tables are made anew in a schema of their own first (core/schema/missing.py).
LANGUAGE plpgsql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT w.content_id, ts_rank(w.words, query) FROM content_title_words w
    WHERE w.words @@ query AND w.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
    LIMIT most;
END
$$;
REVOKE EXECUTE ON FUNCTION content_titles_matching(tsquery, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION content_titles_matching(tsquery, integer) TO content_app, content_readonly;

-- A function that nobody named may be run by everybody, so what belongs to jobs is taken from PUBLIC.
REVOKE EXECUTE ON FUNCTION prepare_change_log(integer), drop_replicated_changes(xid8), prepare_usage_history(integer),
    quota_reap(uuid, integer), quota_apply_plan(uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prepare_change_log(integer), drop_replicated_changes(xid8), prepare_usage_history(integer),
    quota_reap(uuid, integer), quota_apply_plan(uuid, jsonb) TO content_worker;
