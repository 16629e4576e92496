-- Retention by plan: legal holds of tenants, and up to which version retention removed the history of an item.

-- While a row of a tenant is not released, nothing of the tenant goes. Rows are ended, never removed.
CREATE TABLE legal_holds (
    hold_id        uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id      uuid        NOT NULL,
    reason         text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    placed_by      text        NOT NULL CHECK (length(placed_by) BETWEEN 1 AND 200),
    placed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_by    text        CHECK (length(released_by) BETWEEN 1 AND 200),
    release_reason text        CHECK (length(release_reason) BETWEEN 1 AND 1000),
    released_at    timestamptz,
    CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
CREATE INDEX legal_holds_standing ON legal_holds (tenant_id) WHERE released_at IS NULL;

-- Versions of an item below `floor` were removed by retention: that they are missing is no finding.
CREATE TABLE retention_floors (
    content_id uuid        PRIMARY KEY,
    tenant_id  uuid        NOT NULL,
    floor      integer     NOT NULL CHECK (floor > 1),
    run_id     text        NOT NULL,
    moved_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Legacy rows whose item was purged. Migration takes them as done: otherwise it would bring back what was removed for good.
CREATE TABLE purged_sources (
    source     text        PRIMARY KEY,
    tenant_id  uuid        NOT NULL,
    content_id uuid        NOT NULL,
    purged_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Deleted items and files of one tenant, the oldest first: what is past a plan is found without reading what is not.
DROP INDEX content_storage_deleted;
CREATE INDEX content_storage_deleted ON content_storage_metadata (tenant_id, deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX media_assets_deleted ON media_assets (tenant_id, deleted_at, id) WHERE deleted_at IS NOT NULL;
-- Versions that another one followed, by age.
CREATE INDEX content_versions_superseded ON content_versions (tenant_id, created_at, content_id) WHERE version > 1;
-- Which file goes next, and whether anybody else's rows name one of this key at the same place.
CREATE INDEX media_superseded_oldest ON media_superseded (superseded_at, tenant_id, key);
CREATE INDEX media_objects_key ON media_objects (key);
CREATE INDEX media_variants_of_key ON media_variants (key);

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['legal_holds', 'retention_floors', 'purged_sources'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly '
                       'USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid) '
                       'WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', walled);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO content_worker', walled);
    END LOOP;
END
$$;
-- The history of holds is not rewritten: a hold can only be ended.
GRANT UPDATE (released_by, release_reason, released_at) ON legal_holds TO content_worker;
GRANT UPDATE, DELETE ON retention_floors TO content_worker;
GRANT UPDATE, DELETE ON purged_sources TO content_worker;
-- A purge asks whether its tenant is held, and no more, and notes what migration may not bring back.
GRANT SELECT (tenant_id, released_at) ON legal_holds TO content_app;
GRANT SELECT, INSERT, UPDATE ON purged_sources TO content_app;
