-- Content metadata, versions, media references and migration quarantine: the PostgreSQL tier of every item.
CREATE TABLE content_storage_metadata (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id          uuid        NOT NULL,
    brand_id           uuid,
    campaign_space_id  uuid,
    user_id            uuid,
    title              text        NOT NULL,
    content_type       text        NOT NULL CHECK (content_type IN ('article', 'post', 'email', 'image', 'video', 'document')),
    status             text        NOT NULL CHECK (status IN ('draft', 'scheduled', 'published', 'archived')),
    zerodb_row_id      text        NOT NULL,
    body_sha256        text        NOT NULL CHECK (body_sha256 ~ '^[0-9a-f]{64}$'),
    storage_size_bytes bigint      NOT NULL CHECK (storage_size_bytes >= 0),
    version            integer     NOT NULL DEFAULT 1 CHECK (version >= 1),
    source             text        UNIQUE,
    -- A jsonb null would come back from a restore as SQL NULL, so the column holds objects only.
    metadata           jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz
);
CREATE INDEX content_storage_tenant_recent ON content_storage_metadata (tenant_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX content_storage_tenant_type_status ON content_storage_metadata (tenant_id, content_type, status, created_at DESC);
CREATE INDEX content_storage_campaign ON content_storage_metadata (campaign_space_id, created_at DESC) WHERE campaign_space_id IS NOT NULL;
CREATE INDEX content_storage_deleted ON content_storage_metadata (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE content_versions (
    id                 uuid        PRIMARY KEY,
    content_id         uuid        NOT NULL,
    tenant_id          uuid        NOT NULL,
    version            integer     NOT NULL CHECK (version >= 1),
    zerodb_row_id      text        NOT NULL,
    body_sha256        text        NOT NULL CHECK (body_sha256 ~ '^[0-9a-f]{64}$'),
    storage_size_bytes bigint      NOT NULL CHECK (storage_size_bytes >= 0),
    changed_by         text        NOT NULL,
    change_reason      text        NOT NULL,
    patch              jsonb       NOT NULL DEFAULT '{"operations": []}' CHECK (jsonb_typeof(patch) = 'object'),
    created_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (content_id, version)
);

CREATE TABLE media_assets (
    id                 uuid        PRIMARY KEY,
    tenant_id          uuid        NOT NULL,
    brand_id           uuid,
    content_id         uuid,
    source             text        UNIQUE,
    kind               text        NOT NULL CHECK (kind IN ('image', 'video', 'document')),
    url                text        NOT NULL,
    public_url         text,
    external_id        text,
    mime_type          text,
    size_bytes         bigint      NOT NULL DEFAULT 0 CHECK (size_bytes >= 0),
    sha256             text        CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    status             text        NOT NULL DEFAULT 'referenced' CHECK (status IN ('referenced', 'stored', 'failed')),
    zerodb_row_id      text        NOT NULL,
    metadata           jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz
);
CREATE INDEX media_assets_tenant ON media_assets (tenant_id, created_at DESC);
CREATE INDEX media_assets_content ON media_assets (content_id) WHERE content_id IS NOT NULL;
-- A file is stored once within a tenant; across tenants a shared hash would tell that somebody else has it.
CREATE UNIQUE INDEX media_assets_tenant_sha256 ON media_assets (tenant_id, sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE migration_quarantine (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    source       text        NOT NULL UNIQUE,
    reason       text        NOT NULL,
    detail       text        NOT NULL,
    original_row text        NOT NULL,
    first_seen   timestamptz NOT NULL DEFAULT now(),
    last_seen    timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz
);
CREATE INDEX migration_quarantine_open ON migration_quarantine (reason) WHERE resolved_at IS NULL;

-- The legacy table is the platform's. A column that we add carries a mark, so that the way down removes just those.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES ('zerodb_id', 'text'), ('storage_size_bytes', 'bigint'), ('migrated_at', 'timestamptz')) AS w (name, type)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'content_items'::regclass AND attname = wanted.name AND NOT attisdropped
        ) THEN
            EXECUTE format('ALTER TABLE content_items ADD COLUMN %I %s', wanted.name, wanted.type);
            EXECUTE format('COMMENT ON COLUMN content_items.%I IS %L', wanted.name, 'added by content_orchestration');
        END IF;
    END LOOP;
END
$$;
