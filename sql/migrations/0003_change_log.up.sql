-- The change log that replication reads, the triggers that fill it, and the record of every window.
CREATE TABLE content_changes (
    change_id  bigint      GENERATED ALWAYS AS IDENTITY,
    change_xid xid8        NOT NULL DEFAULT pg_current_xact_id(),
    entity     text        NOT NULL,
    entity_id  uuid,
    tenant_id  uuid,
    op         "char"      NOT NULL CHECK (op IN ('I', 'U', 'D', 'T')),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_row   text,
    -- A T marks a TRUNCATE of the whole entity; all else names a row, and a D carries the row as it last was.
    CHECK ((op = 'T') = (entity_id IS NULL)),
    CHECK (op <> 'D' OR last_row IS NOT NULL)
) PARTITION BY RANGE (changed_at);
CREATE INDEX content_changes_xid ON content_changes (change_xid);
-- Receives what no day partition takes, so that late maintenance never stops a writer.
CREATE TABLE content_changes_default PARTITION OF content_changes DEFAULT;

CREATE FUNCTION prepare_change_log(days_ahead integer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    day date;
    created integer := 0;
BEGIN
    FOR day IN SELECT today + ahead FROM generate_series(0, days_ahead) AS ahead LOOP
        -- A day that already has rows in the default partition stays there: moving them would block writers.
        IF to_regclass('content_changes_' || to_char(day, 'YYYYMMDD')) IS NULL AND NOT EXISTS (
            SELECT FROM content_changes_default
            WHERE changed_at >= day::timestamp AT TIME ZONE 'UTC' AND changed_at < (day + 1)::timestamp AT TIME ZONE 'UTC'
        ) THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF content_changes FOR VALUES FROM (%L) TO (%L)',
                           'content_changes_' || to_char(day, 'YYYYMMDD'),
                           day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$$;
SELECT prepare_change_log(7);

CREATE FUNCTION drop_replicated_changes(before_xid xid8) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    partition record;
    pending boolean;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'content_changes'::regclass AND c.relname ~ '^content_changes_[0-9]{8}$'
    LOOP
        CONTINUE WHEN partition.day >= today;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE change_xid >= $1)', partition.relname)
            INTO pending USING before_xid;
        CONTINUE WHEN pending;
        EXECUTE format('DROP TABLE %I', partition.relname);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM content_changes_default WHERE change_xid < before_xid AND changed_at < today::timestamp AT TIME ZONE 'UTC';
    RETURN dropped;
END
$$;

CREATE FUNCTION record_content_changes() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
-- The payload of a tombstone is printed here, so the settings that decide how are pinned here.
SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = 1
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO content_changes (entity, entity_id, tenant_id, op, last_row)
        SELECT TG_ARGV[0], o.id, o.tenant_id, 'D', row_to_json(o)::text FROM old_rows o;
    ELSE
        INSERT INTO content_changes (entity, entity_id, tenant_id, op)
        SELECT TG_ARGV[0], n.id, n.tenant_id, left(TG_OP, 1)::"char" FROM new_rows n;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION record_content_truncate() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = 1
AS $$
BEGIN
    -- Rows that this snapshot cannot see go too, so the T asks replication for a comparison of keys besides.
    EXECUTE format(
        'INSERT INTO content_changes (entity, entity_id, tenant_id, op, last_row)
         SELECT $1, o.id, o.tenant_id, ''D'', row_to_json(o)::text FROM %I.%I o', TG_TABLE_SCHEMA, TG_TABLE_NAME)
    USING TG_ARGV[0];
    INSERT INTO content_changes (entity, op) VALUES (TG_ARGV[0], 'T');
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_id_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.id IS DISTINCT FROM OLD.id THEN
        RAISE EXCEPTION '%.id is immutable: replication and bodies refer to it', TG_TABLE_NAME
            USING HINT = 'Delete the row and insert another one.';
    END IF;
    RETURN NEW;
END
$$;

DO $$
DECLARE
    captured record;
BEGIN
    FOR captured IN
        SELECT * FROM (VALUES
            ('content_storage_metadata', 'content_storage'),
            ('content_versions', 'content_versions'),
            ('media_assets', 'content_media')
        ) AS c (table_name, entity)
    LOOP
        EXECUTE format('CREATE TRIGGER record_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION record_content_changes(%L)', captured.table_name, captured.entity);
        EXECUTE format('CREATE TRIGGER record_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION record_content_changes(%L)', captured.table_name, captured.entity);
        EXECUTE format('CREATE TRIGGER record_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION record_content_changes(%L)', captured.table_name, captured.entity);
        EXECUTE format('CREATE TRIGGER record_truncate BEFORE TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION record_content_truncate(%L)', captured.table_name, captured.entity);
        EXECUTE format('CREATE TRIGGER keep_id BEFORE UPDATE OF id ON %I
                        FOR EACH ROW EXECUTE FUNCTION refuse_id_change()', captured.table_name);
    END LOOP;
END
$$;

-- Written by every sync before it looks: what arrives in BigQuery proves the whole path, even when nobody else writes.
CREATE TABLE replication_heartbeat (
    id        uuid        PRIMARY KEY DEFAULT '00000000-0000-0000-0000-000000000001' CHECK (id = '00000000-0000-0000-0000-000000000001'),
    tenant_id uuid,
    beat_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO replication_heartbeat DEFAULT VALUES;
CREATE TRIGGER record_update AFTER UPDATE ON replication_heartbeat REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION record_content_changes('heartbeat');

-- Bodies that ZeroDB would not take yet. Replication reads them here until they are moved.
CREATE TABLE content_body_spill (
    zerodb_row_id text        PRIMARY KEY,
    tenant_id     uuid        NOT NULL,
    content_id    uuid        NOT NULL,
    version       integer     NOT NULL CHECK (version >= 1),
    body          text        NOT NULL,
    body_sha256   text        NOT NULL CHECK (body_sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes    bigint      NOT NULL CHECK (size_bytes >= 0),
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX content_body_spill_tenant ON content_body_spill (tenant_id);

-- One row: where the next window begins, and in which cluster. Transaction ids mean nothing in another one.
CREATE TABLE replication_cursor (
    singleton         boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    system_identifier text        NOT NULL,
    next_xid          xid8        NOT NULL,
    last_sync_id      bigint      NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE replication_windows (
    sync_id           bigint      PRIMARY KEY,
    system_identifier text        NOT NULL,
    low_xid           xid8        NOT NULL,
    high_xid          xid8        NOT NULL,
    status            text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed', 'abandoned')),
    changes           bigint      NOT NULL CHECK (changes >= 0),
    rows_by_table     jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(rows_by_table) = 'object'),
    bytes_loaded      bigint      NOT NULL DEFAULT 0,
    seconds_by_stage  jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(seconds_by_stage) = 'object'),
    run_id            text        NOT NULL,
    attempts          integer     NOT NULL DEFAULT 1,
    oldest_change_at  timestamptz,
    heartbeat_at      timestamptz,
    truncated         text[]      NOT NULL DEFAULT '{}',
    synced_at         timestamptz NOT NULL,
    opened_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at         timestamptz,
    CHECK (low_xid <= high_xid),
    CHECK ((status = 'open') = (closed_at IS NULL))
);
-- At most one window is open: a second one would let the cursor pass over the first.
CREATE UNIQUE INDEX replication_windows_open ON replication_windows ((true)) WHERE status = 'open';

-- One row a tenant of a snapshot: which sync id it has, and whether all of it landed.
CREATE TABLE replication_backfills (
    sync_id       bigint      NOT NULL,
    tenant_id     uuid        NOT NULL,
    status        text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    rows_by_table jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(rows_by_table) = 'object'),
    bytes_loaded  bigint      NOT NULL DEFAULT 0,
    tombstones    bigint      NOT NULL DEFAULT 0,
    run_id        text        NOT NULL,
    synced_at     timestamptz NOT NULL,
    opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at     timestamptz,
    PRIMARY KEY (sync_id, tenant_id)
);
CREATE INDEX replication_backfills_tenant ON replication_backfills (tenant_id, sync_id DESC);

-- One row a load file, written before the load: a restarted run sees which keys a file covers and goes on behind them.
CREATE TABLE replication_parts (
    sync_id    bigint      NOT NULL REFERENCES replication_windows ON DELETE CASCADE,
    table_name text        NOT NULL,
    part       integer     NOT NULL CHECK (part >= 0),
    last_id    uuid        NOT NULL,
    rows       bigint      NOT NULL CHECK (rows > 0),
    tombstones bigint      NOT NULL DEFAULT 0,
    bytes      bigint      NOT NULL,
    job_id     text        NOT NULL,
    loaded_at  timestamptz,
    PRIMARY KEY (sync_id, table_name, part)
);

-- A body whose bytes do not have the hash that its row names is reported here and not copied.
CREATE TABLE replication_quarantine (
    zerodb_row_id   text        NOT NULL,
    sync_id         bigint      NOT NULL,
    entity          text        NOT NULL,
    tenant_id       uuid        NOT NULL,
    reason          text        NOT NULL CHECK (reason IN ('body_missing', 'body_differs')),
    expected_sha256 text        NOT NULL,
    found_sha256    text,
    seen_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (zerodb_row_id, entity, sync_id)
);
