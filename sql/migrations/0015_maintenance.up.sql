-- What maintenance knows: sizes of tables over time, what vacuum and reindex did, and backups with their proof.

CREATE TABLE table_sizes (
    table_name  text        NOT NULL,
    measured_at timestamptz NOT NULL,
    -- Partitions count with their table. Bytes without indexes, large values kept apart (TOAST) included.
    table_bytes bigint      NOT NULL CHECK (table_bytes >= 0),
    index_bytes bigint      NOT NULL CHECK (index_bytes >= 0),
    live_rows   bigint      NOT NULL CHECK (live_rows >= 0),
    dead_rows   bigint      NOT NULL CHECK (dead_rows >= 0),
    -- Bytes of table and indexes that a fresh copy would not need, by estimate; NULL where nothing is known.
    bloat_bytes bigint      CHECK (bloat_bytes >= 0),
    PRIMARY KEY (table_name, measured_at)
);
CREATE INDEX table_sizes_measured ON table_sizes (measured_at);

CREATE TABLE maintenance_actions (
    action_id    bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    action       text        NOT NULL CHECK (action IN ('vacuum', 'reindex', 'drop_index')),
    relation     text        NOT NULL,
    outcome      text        NOT NULL CHECK (outcome IN ('done', 'out_of_time', 'locked', 'gone', 'failed')),
    detail       text,
    bytes_before bigint,
    bytes_after  bigint,
    seconds      float8      NOT NULL CHECK (seconds >= 0),
    run_id       text        NOT NULL,
    ended_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX maintenance_actions_recent ON maintenance_actions (ended_at DESC);

CREATE TABLE database_backups (
    backup_id       uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- The name of the object in the backup store.
    key             text        NOT NULL UNIQUE,
    location        text        NOT NULL,
    state           text        NOT NULL DEFAULT 'running'
                                CHECK (state IN ('running', 'stored', 'verified', 'failed', 'removed')),
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    size_bytes      bigint      CHECK (size_bytes >= 0),
    sha256          text        CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- Version of the server that was dumped, and what every table held in the dump's own snapshot.
    server_version  text,
    contents        jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(contents) = 'object'),
    dump_seconds    float8      CHECK (dump_seconds >= 0),
    stored_at       timestamptz,
    restore_seconds float8      CHECK (restore_seconds >= 0),
    compare_seconds float8      CHECK (compare_seconds >= 0),
    verified_at     timestamptz,
    failure         text,
    removed_at      timestamptz,
    run_id          text        NOT NULL,
    CHECK (state NOT IN ('stored', 'verified') OR (size_bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CHECK (state <> 'verified' OR verified_at IS NOT NULL)
);
CREATE INDEX database_backups_recent ON database_backups (started_at DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON table_sizes, maintenance_actions, database_backups TO content_worker;
