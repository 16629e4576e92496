-- Health and alerts: probes of the tiers, refusals of the quota, and what people are told once until it is over.

-- One row a look and tier: what its probes took and how many failed.
CREATE TABLE health_samples (
    sample_id  bigint           PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tier       text             NOT NULL CHECK (tier IN ('postgres', 'zerodb', 'bigquery')),
    sampled_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
    probes     integer          NOT NULL CHECK (probes > 0),
    failed     integer          NOT NULL CHECK (failed BETWEEN 0 AND probes),
    -- The median of those that were answered; NULL where none was.
    seconds    double precision CHECK (seconds >= 0),
    error      text,
    CHECK ((failed = probes) = (seconds IS NULL))
);
CREATE INDEX health_samples_recent ON health_samples (sampled_at);

-- How often the ledger said no, a tenant and day in UTC.
CREATE TABLE quota_rejections (
    tenant_id  uuid        NOT NULL,
    day        date        NOT NULL,
    scope      text        NOT NULL CHECK (scope IN ('tenant', 'brand', 'generation')),
    rejections bigint      NOT NULL CHECK (rejections > 0),
    last_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, day, scope)
) WITH (fillfactor = 50);
CREATE INDEX quota_rejections_day ON quota_rejections (day);

-- One row a cause from its first sign to its end. The row is its own place in the outbox: opening it and ending it make
-- it due, so that a message of the end never overtakes the one of the beginning.
CREATE TABLE platform_alerts (
    id              bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind            text        NOT NULL CHECK (kind IN ('run', 'check', 'threshold')),
    -- The job, the check, or the threshold.
    subject         text        NOT NULL CHECK (subject <> ''),
    -- What makes two signs the same: kind, subject and class of the error.
    cause           text        NOT NULL CHECK (cause <> ''),
    -- Of a partitioned job, the partitions that failed and did not succeed since; '' is a run without one.
    scopes          text[]      NOT NULL DEFAULT '{}',
    summary         text        NOT NULL,
    reason          text        NOT NULL,
    next_step       text        NOT NULL,
    link            text        NOT NULL,
    phase           text        NOT NULL DEFAULT 'open' CHECK (phase IN ('open', 'resolved', 'closed')),
    occurrences     bigint      NOT NULL DEFAULT 1 CHECK (occurrences > 0),
    -- Where a sign is an event of Dagster: the newest one's id. An older one that shows late changes nothing.
    last_event      bigint      NOT NULL DEFAULT 0,
    opened_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    ended_by        text,
    -- muted: by hand; nothing more of it is told.
    suppressed      text        CHECK (suppressed IN ('muted')),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    claim_token     bigint      NOT NULL DEFAULT 0,
    claimed_until   timestamptz,
    delivered_to    text[]      NOT NULL DEFAULT '{}',
    delivered_at    timestamptz,
    last_error      text,
    CHECK ((phase = 'open') = (ended_at IS NULL)),
    CHECK ((phase = 'open') = (ended_by IS NULL))
);
-- A cause cannot be open twice, whoever writes.
CREATE UNIQUE INDEX platform_alerts_open ON platform_alerts (cause) WHERE phase = 'open';
CREATE INDEX platform_alerts_cause ON platform_alerts (cause, id);
CREATE INDEX platform_alerts_subject ON platform_alerts (kind, subject) WHERE phase = 'open';
CREATE INDEX platform_alerts_due ON platform_alerts (next_attempt_at, id) WHERE delivered_at IS NULL AND suppressed IS NULL;

DO $$
DECLARE
    own_rows constant text := 'tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid';
BEGIN
    ALTER TABLE quota_rejections ENABLE ROW LEVEL SECURITY;
    ALTER TABLE quota_rejections FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY one_tenant ON quota_rejections TO content_app, content_readonly USING (%s) WITH CHECK (%s)',
                   own_rows, own_rows);
    CREATE POLICY all_tenants ON quota_rejections TO content_worker USING (true) WITH CHECK (true);
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON health_samples, quota_rejections, platform_alerts TO content_worker;
GRANT SELECT ON quota_rejections TO content_app, content_readonly;

-- Adds refusals up. A refused settlement names its reservation, not its tenant. Runs as its owner, since a caller that
-- may only reserve has no right to the counters, and in the order of the tenants, so that two callers never deadlock.
-- plpgsql looks tables up when it runs: lost tables are made anew in a schema of their own first (core/schema/missing.py).
CREATE FUNCTION quota_count_rejections(p_tenants uuid[], p_reservations uuid[], p_scopes text[], p_counts bigint[]) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO quota_rejections AS q (tenant_id, day, scope, rejections)
    SELECT coalesce(r.tenant, o.tenant_id), (clock_timestamp() AT TIME ZONE 'UTC')::date, r.scope, sum(r.n)
    FROM unnest(p_tenants, p_reservations, p_scopes, p_counts) AS r (tenant, reservation, scope, n)
    LEFT JOIN quota_reservations o ON r.tenant IS NULL AND o.id = r.reservation
    WHERE coalesce(r.tenant, o.tenant_id) IS NOT NULL
    GROUP BY 1, 2, 3
    ORDER BY 1, 3
    ON CONFLICT (tenant_id, day, scope) DO UPDATE
    SET rejections = q.rejections + excluded.rejections, last_at = clock_timestamp();
END
$$;
REVOKE EXECUTE ON FUNCTION quota_count_rejections(uuid[], uuid[], text[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quota_count_rejections(uuid[], uuid[], text[], bigint[]) TO content_app, content_worker;
