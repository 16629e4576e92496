-- The record of restores: what was reviewed, how far it came, what was not fit to be written, and the drills.
CREATE TABLE restore_runs (
    restore_id    uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    plan_hash     text        NOT NULL CHECK (plan_hash ~ '^[0-9a-f]{64}$'),
    request       jsonb       NOT NULL CHECK (jsonb_typeof(request) = 'object'),
    plan          jsonb       NOT NULL CHECK (jsonb_typeof(plan) = 'object'),
    as_of_sync_id bigint      NOT NULL,
    target        text        NOT NULL,
    status        text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    run_id        text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 1,
    report        jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(report) = 'object'),
    opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at     timestamptz,
    CHECK ((status = 'open') = (closed_at IS NULL))
);
-- A plan that was cut off is continued, never begun a second time beside itself.
CREATE UNIQUE INDEX restore_runs_open ON restore_runs (plan_hash) WHERE status = 'open';
CREATE INDEX restore_runs_recent ON restore_runs (opened_at DESC);

-- One row a committed part, written in the transaction that writes the part's rows: a restarted run goes on behind it.
CREATE TABLE restore_progress (
    restore_id uuid        NOT NULL REFERENCES restore_runs ON DELETE CASCADE,
    stage      text        NOT NULL,
    part       integer     NOT NULL CHECK (part >= 0),
    outcome    jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(outcome) = 'object'),
    done_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (restore_id, stage, part)
);

-- What was not written and why, with the payload as it was found; nothing that history holds is dropped in silence.
CREATE TABLE restore_quarantine (
    restore_id      uuid        NOT NULL REFERENCES restore_runs ON DELETE CASCADE,
    entity          text        NOT NULL,
    entity_id       text        NOT NULL,
    tenant_id       text,
    sync_id         bigint,
    reason          text        NOT NULL CHECK (reason IN (
                        'row_sha256', 'body_sha256', 'body_missing', 'row_refused', 'row_differs', 'document_replaced', 'document_conflict'
                    )),
    detail          text        NOT NULL,
    expected_sha256 text,
    found_sha256    text,
    payload         text,
    seen_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (restore_id, entity, entity_id, reason)
);

-- One row a drill: a disaster that was made in a scratch copy, and what it took to recover from it.
CREATE TABLE restore_drills (
    drill_id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    scenario          text        NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    detection_seconds float8      CHECK (detection_seconds >= 0),
    rows_lost         bigint      CHECK (rows_lost >= 0),
    rpo_seconds       float8      CHECK (rpo_seconds >= 0),
    rto_seconds       float8      CHECK (rto_seconds >= 0),
    verified          boolean     NOT NULL DEFAULT false,
    detail            jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    run_id            text        NOT NULL
);
CREATE INDEX restore_drills_scenario ON restore_drills (scenario, started_at DESC);
