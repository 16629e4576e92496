-- Reports of comparisons, every difference that they found, what repairs did about them, and how far scrubs have come.
CREATE TABLE integrity_reports (
    report_id        bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    scope            text        NOT NULL CHECK (scope IN ('hourly', 'full', 'tenant', 'sync', 'scrub', 'repair')),
    tenant_id        uuid,
    run_id           text        NOT NULL,
    outcome          text        NOT NULL CHECK (outcome IN ('agree', 'different', 'unknown')),
    started_at       timestamptz NOT NULL,
    seconds          double precision NOT NULL CHECK (seconds >= 0),
    attempted        bigint      NOT NULL CHECK (attempted >= 0),
    compared         bigint      NOT NULL CHECK (compared >= 0),
    differences      bigint      NOT NULL CHECK (differences >= 0),
    -- Differences past the bound of a report are counted by kind and not kept one by one.
    surplus          bigint      NOT NULL DEFAULT 0 CHECK (surplus BETWEEN 0 AND differences),
    bytes_estimated  bigint      NOT NULL DEFAULT 0 CHECK (bytes_estimated >= 0),
    counts           jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(counts) = 'object'),
    comparisons      jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(comparisons) = 'array'),
    written_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((scope = 'tenant') = (tenant_id IS NOT NULL)),
    CHECK (outcome <> 'agree' OR differences = 0)
);
CREATE INDEX integrity_reports_scope ON integrity_reports (scope, report_id DESC);

CREATE TABLE integrity_differences (
    report_id  bigint  NOT NULL REFERENCES integrity_reports ON DELETE CASCADE,
    position   integer NOT NULL CHECK (position >= 0),
    comparison text    NOT NULL,
    kind       text    NOT NULL,
    table_name text    NOT NULL,
    -- A row's key, a document's id or a tenant, by the kind; a stray document may carry anything in both.
    entity_id  text    NOT NULL,
    tenant_id  text,
    detail     jsonb   NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    PRIMARY KEY (report_id, position)
);
CREATE INDEX integrity_differences_kind ON integrity_differences (report_id, kind, position);

-- One row an action, written before it is done. No reference to its report: the record outlives the reports.
CREATE TABLE integrity_repairs (
    repair_id   bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    report_id   bigint      NOT NULL,
    position    integer     NOT NULL,
    run_id      text        NOT NULL,
    kind        text        NOT NULL,
    table_name  text        NOT NULL,
    entity_id   text        NOT NULL,
    tenant_id   text,
    action      text        NOT NULL,
    outcome     text        NOT NULL DEFAULT 'started'
                            CHECK (outcome IN ('started', 'repaired', 'already_clean', 'refused', 'not_repaired', 'unknown')),
    detail      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CHECK ((outcome = 'started') = (finished_at IS NULL))
);
CREATE INDEX integrity_repairs_report ON integrity_repairs (report_id, position);
CREATE INDEX integrity_repairs_unfinished ON integrity_repairs (report_id) WHERE finished_at IS NULL;

-- The cursor of each scrub of bodies: the last id that was read, and what the cycle has read so far.
CREATE TABLE body_scrub_progress (
    scope              text        PRIMARY KEY,
    position           text,
    cycle_started_at   timestamptz,
    cycle_completed_at timestamptz,
    bodies             bigint      NOT NULL DEFAULT 0 CHECK (bodies >= 0),
    bytes              bigint      NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- When each day partition of the history was last hashed again inside BigQuery.
CREATE TABLE warehouse_scrub_progress (
    table_name    text        NOT NULL,
    partition_day date        NOT NULL,
    scrubbed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, partition_day)
);
CREATE INDEX warehouse_scrub_progress_oldest ON warehouse_scrub_progress (table_name, scrubbed_at);

-- Documents without a row that carry no date: when a comparison first saw each, so that its grace period can pass.
CREATE TABLE unclaimed_documents (
    collection    text        NOT NULL,
    document_id   text        NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    PRIMARY KEY (collection, document_id)
);
