-- Objects of the object storage, how each row came to its bytes, variants, likeness and use.
-- What counts against the quota: a file that is stored counts once a tenant, and once in each brand that references it,
-- however many rows do. A row whose file is not stored counts with its recorded size. Variants do not count.

-- Many rows may reference one stored file. The arbiter of "stored once" is media_objects.
DROP INDEX media_assets_tenant_sha256;
CREATE INDEX media_assets_tenant_sha256 ON media_assets (tenant_id, sha256) WHERE sha256 IS NOT NULL;
-- New rows of an application; what migration made names its legacy row, and is a reference until somebody asks for it.
CREATE INDEX media_assets_fresh ON media_assets (tenant_id, created_at, id)
    WHERE sha256 IS NULL AND source IS NULL AND deleted_at IS NULL;

CREATE TABLE media_objects (
    tenant_id   uuid        NOT NULL,
    -- The key within the tenant's bucket or prefix: the SHA-256, or <sha256>.<row> where duplicates are kept apart.
    key         text        NOT NULL CHECK (key = sha256 OR key ~ '^[0-9a-f]{64}\.[0-9a-f-]{36}$'),
    sha256      text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- Where it was put: the store's address with the tenant's bucket or prefix, without credentials.
    location    text        NOT NULL,
    size_bytes  bigint      NOT NULL CHECK (size_bytes >= 0),
    -- By its content, not by its name.
    mime_type   text        NOT NULL,
    -- missing: the store has no such object, or one with other bytes.
    state       text        NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'missing')),
    etag        text,
    generation  text,
    -- 64 bits of a perceptual hash; NULL for what is no image, or was not looked at yet.
    phash       bigint,
    stored_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    verified_at timestamptz,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX media_objects_sha256 ON media_objects (tenant_id, sha256);

-- Beside a row of media_assets: how often its file was tried, when again, and why it failed.
CREATE TABLE media_ingest (
    asset_id   uuid        PRIMARY KEY,
    tenant_id  uuid        NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    outcome    text        NOT NULL DEFAULT 'waiting'
                           CHECK (outcome IN ('waiting', 'stored', 'duplicate', 'adopted', 'retry', 'failed')),
    reason     text,
    detail     text,
    -- NULL: not by itself.
    next_try   timestamptz DEFAULT clock_timestamp(),
    -- The row says what its document in ZeroDB does not say yet.
    document_due boolean   NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX media_ingest_due ON media_ingest (tenant_id, next_try) WHERE next_try IS NOT NULL;
CREATE INDEX media_ingest_documents ON media_ingest (tenant_id) WHERE document_due;

-- Variants belong to the content, so all rows that reference it share them.
CREATE TABLE media_variants (
    tenant_id      uuid        NOT NULL,
    sha256         text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    width          integer     NOT NULL CHECK (width > 0),
    format         text        NOT NULL,
    height         integer     NOT NULL CHECK (height > 0),
    key            text        NOT NULL,
    bytes          bigint      NOT NULL CHECK (bytes >= 0),
    variant_sha256 text        NOT NULL CHECK (variant_sha256 ~ '^[0-9a-f]{64}$'),
    -- What it was made with: the quality, the sizes that were asked for, the version of the chain.
    settings       jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, sha256, width, format)
);
CREATE UNIQUE INDEX media_variants_key ON media_variants (tenant_id, key);

-- Pairs of images of one tenant that look alike; the smaller hash first.
CREATE TABLE media_near_duplicates (
    tenant_id    uuid        NOT NULL,
    sha256       text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    other_sha256 text        NOT NULL CHECK (other_sha256 ~ '^[0-9a-f]{64}$'),
    -- Bits of the perceptual hash that differ.
    distance     smallint    NOT NULL CHECK (distance BETWEEN 0 AND 64),
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, sha256, other_sha256),
    CHECK (sha256 COLLATE "C" < other_sha256 COLLATE "C")
);
CREATE INDEX media_near_duplicates_other ON media_near_duplicates (tenant_id, other_sha256);

-- What happened to a file, and where. What uses it at a moment is the last word of each place.
CREATE TABLE media_usage_logs (
    id        bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id uuid        NOT NULL,
    asset_id  uuid        NOT NULL,
    -- The content item or other place, `content:<id>`, `campaign:<id>`.
    used_in   text        NOT NULL CHECK (length(used_in) BETWEEN 1 AND 200),
    action    text        NOT NULL CHECK (action IN ('attached', 'detached', 'downloaded', 'published')),
    actor     text        NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX media_usage_logs_asset ON media_usage_logs (tenant_id, asset_id, used_in, id DESC);

-- How far each stored file has come: described, given its variants, tagged. A row a file and tenant, however many rows
-- of media_assets name it.
CREATE TABLE media_processing (
    tenant_id     uuid        NOT NULL,
    sha256        text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- Sizes, quality and recipe of the variants that it has, for example '150,400,800,1200 q85 r1'; NULL until they are made.
    made_with     text,
    -- What is known of the file: merged into the metadata of each row that names it.
    description   jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(description) = 'object'),
    -- Of two pictures that look the same, the one described later names the other.
    described_at  timestamptz,
    attempts      integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failed_reason text,
    -- A file that failed for good has no next time.
    retry_at      timestamptz,
    tags_state    text        NOT NULL DEFAULT 'wanted' CHECK (tags_state IN ('wanted', 'done')),
    tags_attempts integer     NOT NULL DEFAULT 0 CHECK (tags_attempts >= 0),
    tags_error    text,
    tags_after    timestamptz,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, sha256)
);
CREATE INDEX media_processing_tags ON media_processing (tenant_id, tags_after) WHERE tags_state = 'wanted';

-- Files of variants that others replaced: no page shows them, and cleanup may remove them.
CREATE TABLE media_superseded (
    tenant_id     uuid        NOT NULL,
    key           text        NOT NULL,
    sha256        text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes         bigint      NOT NULL CHECK (bytes >= 0),
    superseded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, key)
);

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY[
        'media_objects', 'media_ingest', 'media_variants', 'media_near_duplicates', 'media_usage_logs', 'media_processing',
        'media_superseded'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly '
                       'USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid) '
                       'WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', walled);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO content_worker', walled);
        EXECUTE format('GRANT SELECT ON %I TO content_app, content_readonly', walled);
    END LOOP;
END
$$;
GRANT INSERT ON media_usage_logs TO content_app;

-- What a tenant, or one of its brands, has stored by the rows themselves: a stored file once, whoever references it.
-- plpgsql looks tables up when it runs: lost tables are made anew in a schema of their own first (core/schema/missing.py).
CREATE OR REPLACE FUNCTION quota_stored(p_tenant uuid, p_brand uuid,
                                        OUT bytes bigint, OUT items bigint, OUT media_files bigint, OUT media_bytes bigint)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    SELECT coalesce(sum(c.storage_size_bytes), 0)::bigint, count(*) INTO bytes, items
    FROM content_storage_metadata c
    WHERE c.tenant_id = p_tenant AND c.deleted_at IS NULL AND (p_brand IS NULL OR c.brand_id = p_brand);
    SELECT count(*), coalesce(sum(f.size_bytes), 0)::bigint INTO media_files, media_bytes
    FROM (SELECT max(m.size_bytes) AS size_bytes FROM media_assets m
          WHERE m.tenant_id = p_tenant AND m.deleted_at IS NULL AND (p_brand IS NULL OR m.brand_id = p_brand)
          GROUP BY coalesce(m.metadata ->> 'object_key', m.sha256, m.id::text)) AS f;
    bytes := bytes + media_bytes;
END
$$;

-- Moves the counters when a row's file turns out to be stored (or a reference goes): bytes of the brand, bytes and files
-- of the tenant, each up or down. What goes up must fit, as in quota_settle; lock order as everywhere: brand, tenant.
-- A tenant without counters is left alone: they will begin with what is stored then.
CREATE FUNCTION media_count(p_tenant uuid, p_brand uuid, p_brand_bytes bigint, p_bytes bigint, p_files bigint,
                            OUT outcome text, OUT used bigint, OUT reserved bigint, OUT quota bigint, OUT plan text)
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_brand IS NOT NULL AND p_brand_bytes <> 0 THEN
        UPDATE storage_quotas s SET used_bytes = greatest(s.used_bytes + p_brand_bytes, 0)
        WHERE s.brand_id = p_brand AND s.tenant_id = p_tenant
          AND (p_brand_bytes < 0 OR s.used_bytes::numeric + s.reserved_bytes + p_brand_bytes <= s.limit_bytes);
        IF NOT FOUND THEN
            SELECT s.used_bytes, s.reserved_bytes, s.limit_bytes INTO used, reserved, quota
            FROM storage_quotas s WHERE s.brand_id = p_brand AND s.tenant_id = p_tenant;
            IF FOUND THEN
                outcome := 'brand';
                RETURN;
            END IF;
            -- The first bytes of a brand that is new to the ledger: they count as stored already, the caller's row included.
            INSERT INTO storage_quotas AS s (brand_id, tenant_id, used_bytes)
            SELECT p_brand, p_tenant, q.bytes FROM quota_stored(p_tenant, p_brand) AS q
            -- Somebody was faster, and did not see the caller's row.
            ON CONFLICT (brand_id) DO UPDATE SET used_bytes = greatest(s.used_bytes + p_brand_bytes, 0) WHERE s.tenant_id = p_tenant
            RETURNING s.used_bytes, s.reserved_bytes, s.limit_bytes INTO used, reserved, quota;
            IF used::numeric + reserved > quota AND p_brand_bytes > 0 THEN
                used := used - p_brand_bytes;
                outcome := 'brand';
                RETURN;
            END IF;
        END IF;
    END IF;
    IF p_bytes <> 0 OR p_files <> 0 THEN
        UPDATE content_quota_usage u SET
            used_bytes = greatest(u.used_bytes + p_bytes, 0), media_bytes = greatest(u.media_bytes + p_bytes, 0),
            media_files = greatest(u.media_files + p_files, 0), updated_at = clock_timestamp()
        WHERE u.tenant_id = p_tenant
          AND (p_bytes <= 0 OR u.limit_bytes IS NULL OR u.used_bytes::numeric + u.reserved_bytes + p_bytes <= u.limit_bytes);
        IF NOT FOUND THEN
            SELECT u.used_bytes, u.reserved_bytes, u.limit_bytes, u.plan_tier INTO used, reserved, quota, plan
            FROM content_quota_usage u WHERE u.tenant_id = p_tenant;
            IF FOUND THEN
                outcome := 'tenant';
                RETURN;
            END IF;
        END IF;
    END IF;
    outcome := 'counted';
END
$$;
REVOKE EXECUTE ON FUNCTION media_count(uuid, uuid, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION media_count(uuid, uuid, bigint, bigint, bigint) TO content_worker;
