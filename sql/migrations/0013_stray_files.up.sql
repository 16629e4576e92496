-- Compactions of the history in BigQuery, part by part, and stored files that no row names, with the looks that saw them.

-- One row a compaction. What it may remove is fixed when it begins: a run that was cut off goes on with the same.
CREATE TABLE history_compactions (
    compaction_id uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id        text        NOT NULL,
    -- <tenant>:<sync id>, the sync before which superseded states of that tenant go.
    horizons      text[]      NOT NULL,
    -- By sync id: the earliest moment that can be restored afterwards.
    earliest      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(earliest) = 'object'),
    state         text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'abandoned')),
    opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz,
    CHECK ((state = 'open') = (ended_at IS NULL))
);
-- One at a time.
CREATE UNIQUE INDEX history_compactions_open ON history_compactions (state) WHERE state = 'open';

-- One row a partition that is rewritten, written before it is: what must be left in it, to the digest.
CREATE TABLE history_compaction_parts (
    compaction_id   uuid        NOT NULL REFERENCES history_compactions ON DELETE CASCADE,
    table_name      text        NOT NULL,
    -- superseded: states that a later one replaced by the horizon. ended: the last tombstone of an id, once it is alone.
    pass            text        NOT NULL CHECK (pass IN ('superseded', 'ended')),
    partition_day   date        NOT NULL,
    rows_before     bigint      NOT NULL CHECK (rows_before >= 0),
    rows_kept       bigint      NOT NULL CHECK (rows_kept BETWEEN 0 AND rows_before),
    kept_digest     text        NOT NULL,
    freed_bytes     bigint      NOT NULL CHECK (freed_bytes >= 0),
    bytes_estimated bigint      NOT NULL DEFAULT 0 CHECK (bytes_estimated >= 0),
    state           text        NOT NULL DEFAULT 'intended' CHECK (state IN ('intended', 'done', 'differs')),
    intended_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at         timestamptz,
    PRIMARY KEY (compaction_id, table_name, pass, partition_day)
);

-- One row a listing of all stores. Only what a finished one saw counts.
CREATE TABLE stray_looks (
    look_id       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run_id        text        NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    tenants       bigint      NOT NULL DEFAULT 0 CHECK (tenants >= 0),
    objects       bigint      NOT NULL DEFAULT 0 CHECK (objects >= 0),
    strays        bigint      NOT NULL DEFAULT 0 CHECK (strays >= 0)
);
CREATE INDEX stray_looks_finished ON stray_looks (finished_at DESC) WHERE finished_at IS NOT NULL;

-- What a tenant had at the last look: where rows were and are none, nobody believes that its files are strays.
CREATE TABLE stray_tenants (
    tenant_id    uuid        PRIMARY KEY,
    named        bigint      NOT NULL CHECK (named >= 0),
    objects      bigint      NOT NULL CHECK (objects >= 0),
    looked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Stored files that no row names. A row goes when a look finds a row for the file, or the file gone.
CREATE TABLE stray_objects (
    tenant_id   uuid        NOT NULL,
    key         text        NOT NULL,
    location    text        NOT NULL,
    size_bytes  bigint      NOT NULL CHECK (size_bytes >= 0),
    etag        text,
    generation  text,
    modified_at timestamptz NOT NULL,
    -- Whether the key is one that this project writes; other files are told of and never removed.
    ours        boolean     NOT NULL,
    first_seen  timestamptz NOT NULL,
    last_seen   timestamptz NOT NULL CHECK (last_seen >= first_seen),
    sightings   integer     NOT NULL DEFAULT 1 CHECK (sightings >= 1),
    look_id     bigint      NOT NULL,
    -- deleting: written before the file goes, so that a run that was cut off is finished.
    state       text        NOT NULL DEFAULT 'seen' CHECK (state IN ('seen', 'deleting')),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX stray_objects_due ON stray_objects (first_seen, tenant_id, key) WHERE ours;

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['stray_tenants', 'stray_objects'] LOOP
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
GRANT SELECT, INSERT, UPDATE, DELETE ON history_compactions, history_compaction_parts, stray_looks TO content_worker;
