-- The quota ledger: reservations, what brands and months hold, notices, history, and the functions that keep a limit.
-- Lock order everywhere: reservation, month, brands by id, tenant. The tenant's row is the hot one, so it comes last.

-- An UPDATE of the hot row stays on its page (HOT) while there is room, and then touches no index.
ALTER TABLE content_quota_usage SET (fillfactor = 50);
ALTER TABLE storage_quotas SET (fillfactor = 50);
ALTER TABLE storage_quotas
    ADD COLUMN reserved_bytes   bigint  NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    -- The threshold that was told last and is not armed again yet; 0 where none is.
    ADD COLUMN notified_percent integer NOT NULL DEFAULT 0 CHECK (notified_percent >= 0);

CREATE TABLE quota_generation_usage (
    tenant_id      uuid        NOT NULL,
    -- The first day of the month in UTC, by the database's clock.
    month          date        NOT NULL CHECK (extract(day FROM month) = 1),
    limit_items    bigint      CHECK (limit_items >= 0),
    used_items     bigint      NOT NULL DEFAULT 0 CHECK (used_items >= 0),
    reserved_items bigint      NOT NULL DEFAULT 0 CHECK (reserved_items >= 0),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, month)
) WITH (fillfactor = 50);

CREATE TABLE quota_reservations (
    id                  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id           uuid        NOT NULL,
    brand_id            uuid,
    -- Of bodies; media_bytes come on top, and both count against the limits.
    bytes               bigint      NOT NULL CHECK (bytes >= 0),
    items               bigint      NOT NULL CHECK (items >= 0),
    media_bytes         bigint      NOT NULL CHECK (media_bytes >= 0),
    reason              text        NOT NULL,
    idempotency_key     text,
    -- The month whose generation count the items belong to; NULL where they are not generated.
    month               date,
    state               text        NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'settled', 'released', 'expired')),
    -- What the counters' reserved columns still hold for this reservation.
    held_bytes          bigint      NOT NULL CHECK (held_bytes >= 0),
    held_items          bigint      NOT NULL CHECK (held_items >= 0),
    settled_bytes       bigint      NOT NULL DEFAULT 0 CHECK (settled_bytes >= 0),
    settled_items       bigint      NOT NULL DEFAULT 0 CHECK (settled_items >= 0),
    settled_media_bytes bigint      NOT NULL DEFAULT 0 CHECK (settled_media_bytes >= 0),
    settled_media_files bigint      NOT NULL DEFAULT 0 CHECK (settled_media_files >= 0),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at          timestamptz NOT NULL,
    -- When it ended: settled, released or expired.
    settled_at          timestamptz,
    CHECK ((state = 'reserved') = (settled_at IS NULL)),
    CHECK (state = 'reserved' OR (held_bytes = 0 AND held_items = 0))
);
CREATE UNIQUE INDEX quota_reservations_key ON quota_reservations (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX quota_reservations_open ON quota_reservations (expires_at) WHERE state = 'reserved';
CREATE INDEX quota_reservations_created ON quota_reservations USING brin (created_at);

-- The outbox: a row a threshold and crossing, written by the triggers below in the transaction that changed the use.
CREATE TABLE quota_notices (
    id              bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id       uuid        NOT NULL,
    brand_id        uuid,
    scope           text        NOT NULL CHECK (scope IN ('tenant', 'brand')),
    -- The threshold in percent, and what it is called for a brand.
    level           integer     NOT NULL CHECK (level > 0),
    severity        text        NOT NULL CHECK (severity IN ('info', 'warning', 'critical', 'full')),
    crossing        integer     NOT NULL CHECK (crossing > 0),
    cause           text        NOT NULL CHECK (cause IN ('use', 'limit')),
    used_bytes      bigint      NOT NULL,
    reserved_bytes  bigint      NOT NULL,
    limit_bytes     bigint      NOT NULL,
    -- The tenant's plan when it happened. Which plan would fit, and its price, are computed when the notice is delivered.
    plan_tier       text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- superseded: a higher threshold was crossed by the same change; throttled: told already today.
    suppressed      text        CHECK (suppressed IN ('superseded', 'throttled')),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    claim_token     bigint      NOT NULL DEFAULT 0,
    claimed_until   timestamptz,
    delivered_to    text[]      NOT NULL DEFAULT '{}',
    delivered_at    timestamptz,
    last_error      text,
    CHECK ((scope = 'brand') = (brand_id IS NOT NULL)),
    CHECK (suppressed IS NULL OR delivered_at IS NULL)
);
-- A crossing cannot be told twice, whoever writes.
CREATE UNIQUE INDEX quota_notices_crossing ON quota_notices (tenant_id, coalesce(brand_id, tenant_id), level, crossing);
CREATE INDEX quota_notices_pending ON quota_notices (next_attempt_at, id) WHERE delivered_at IS NULL AND suppressed IS NULL;

-- One row a tenant and hour.
CREATE TABLE usage_history (
    tenant_id      uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    plan_tier      text        NOT NULL,
    limit_bytes    bigint,
    used_bytes     bigint      NOT NULL,
    reserved_bytes bigint      NOT NULL,
    content_items  bigint      NOT NULL,
    media_files    bigint      NOT NULL,
    media_bytes    bigint      NOT NULL,
    PRIMARY KEY (tenant_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX usage_history_recorded ON usage_history USING brin (recorded_at);
-- Receives what no month partition takes, so that late maintenance never stops a writer.
CREATE TABLE usage_history_default PARTITION OF usage_history DEFAULT;

CREATE FUNCTION prepare_usage_history(months_ahead integer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
    first date;
    next date;
    created integer := 0;
BEGIN
    FOR first IN SELECT (this_month + make_interval(months => ahead))::date FROM generate_series(0, months_ahead) AS ahead LOOP
        next := (first + interval '1 month')::date;
        -- A month that already has rows in the default partition stays there: moving them would block writers.
        IF to_regclass('usage_history_' || to_char(first, 'YYYYMM')) IS NULL AND NOT EXISTS (
            SELECT FROM usage_history_default
            WHERE recorded_at >= first::timestamp AT TIME ZONE 'UTC' AND recorded_at < next::timestamp AT TIME ZONE 'UTC'
        ) THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF usage_history FOR VALUES FROM (%L) TO (%L)',
                           'usage_history_' || to_char(first, 'YYYYMM'),
                           first::timestamp AT TIME ZONE 'UTC', next::timestamp AT TIME ZONE 'UTC');
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$$;
SELECT prepare_usage_history(2);

-- Thresholds. Percent are of used bytes: a reservation that is given back should alarm nobody.
CREATE FUNCTION quota_level(levels integer[], used bigint, quota bigint) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(max(level), 0) FROM unnest(levels) AS level
    WHERE quota IS NOT NULL AND used > 0 AND used::numeric * 100 >= level::numeric * quota
$$;

-- A threshold that was told stays told until use is two points below it.
CREATE FUNCTION quota_still_told(levels integer[], told integer, used bigint, quota bigint) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(max(level), 0) FROM unnest(levels) AS level
    WHERE quota IS NOT NULL AND level <= told AND used::numeric * 100 > (level - 2)::numeric * quota
$$;

CREATE FUNCTION notice_tenant_usage() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    levels constant integer[] := '{70, 85, 95, 100}';
    severities constant text[] := '{info, warning, critical, full}';
    -- A new limit is a new scale: everything that was told is told afresh where it still holds.
    rescaled boolean := TG_OP = 'INSERT' OR NEW.limit_bytes IS DISTINCT FROM OLD.limit_bytes;
    told integer := CASE WHEN rescaled THEN 0
                         ELSE quota_still_told(levels, NEW.notified_percent, NEW.used_bytes, NEW.limit_bytes) END;
    reached integer := quota_level(levels, NEW.used_bytes, NEW.limit_bytes);
BEGIN
    IF reached > told THEN
        INSERT INTO quota_notices (tenant_id, scope, level, severity, crossing, cause, used_bytes, reserved_bytes, limit_bytes,
                                   plan_tier, suppressed)
        SELECT NEW.tenant_id, 'tenant', l.level, l.severity,
               1 + coalesce((SELECT max(n.crossing) FROM quota_notices n
                             WHERE n.tenant_id = NEW.tenant_id AND coalesce(n.brand_id, n.tenant_id) = NEW.tenant_id
                               AND n.level = l.level), 0),
               CASE WHEN TG_OP = 'UPDATE' AND rescaled THEN 'limit' ELSE 'use' END,
               NEW.used_bytes, NEW.reserved_bytes, NEW.limit_bytes, NEW.plan_tier,
               CASE WHEN l.level < reached THEN 'superseded' END
        FROM unnest(levels, severities) AS l (level, severity)
        WHERE l.level > told AND l.level <= reached
        ORDER BY l.level;
    END IF;
    IF greatest(told, reached) <> NEW.notified_percent THEN
        UPDATE content_quota_usage SET notified_percent = greatest(told, reached) WHERE tenant_id = NEW.tenant_id;
    END IF;
    RETURN NULL;
END
$$;
-- AFTER, since a BEFORE INSERT trigger would also run for an INSERT … ON CONFLICT that becomes an UPDATE.
CREATE TRIGGER notice_insert AFTER INSERT ON content_quota_usage FOR EACH ROW
    WHEN (NEW.used_bytes > 0) EXECUTE FUNCTION notice_tenant_usage();
CREATE TRIGGER notice_update AFTER UPDATE OF used_bytes, limit_bytes ON content_quota_usage FOR EACH ROW
    WHEN (OLD.used_bytes <> NEW.used_bytes OR OLD.limit_bytes IS DISTINCT FROM NEW.limit_bytes)
    EXECUTE FUNCTION notice_tenant_usage();

CREATE FUNCTION notice_brand_usage() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    levels integer[] := ARRAY[NEW.warning_threshold_percent, NEW.critical_threshold_percent];
    severities constant text[] := '{warning, critical}';
    rescaled boolean := TG_OP = 'INSERT' OR
        (NEW.limit_bytes, NEW.warning_threshold_percent, NEW.critical_threshold_percent) IS DISTINCT FROM
        (OLD.limit_bytes, OLD.warning_threshold_percent, OLD.critical_threshold_percent);
    told integer := CASE WHEN rescaled THEN 0
                         ELSE quota_still_told(levels, NEW.notified_percent, NEW.used_bytes, NEW.limit_bytes) END;
    reached integer := quota_level(levels, NEW.used_bytes, NEW.limit_bytes);
BEGIN
    IF reached > told THEN
        INSERT INTO quota_notices (tenant_id, brand_id, scope, level, severity, crossing, cause, used_bytes, reserved_bytes,
                                   limit_bytes, plan_tier, suppressed)
        -- Two thresholds of the same percent are one, and the graver name tells it.
        SELECT NEW.tenant_id, NEW.brand_id, 'brand', l.level, min(l.severity),
               1 + coalesce((SELECT max(n.crossing) FROM quota_notices n
                             WHERE n.tenant_id = NEW.tenant_id AND coalesce(n.brand_id, n.tenant_id) = NEW.brand_id
                               AND n.level = l.level), 0),
               CASE WHEN TG_OP = 'UPDATE' AND rescaled THEN 'limit' ELSE 'use' END,
               NEW.used_bytes, NEW.reserved_bytes, NEW.limit_bytes,
               coalesce((SELECT u.plan_tier FROM content_quota_usage u WHERE u.tenant_id = NEW.tenant_id), 'free'),
               CASE WHEN l.level < reached THEN 'superseded' END
        FROM unnest(levels, severities) AS l (level, severity)
        WHERE l.level > told AND l.level <= reached
        GROUP BY l.level
        ORDER BY l.level;
    END IF;
    IF greatest(told, reached) <> NEW.notified_percent THEN
        UPDATE storage_quotas SET notified_percent = greatest(told, reached) WHERE brand_id = NEW.brand_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER notice_insert AFTER INSERT ON storage_quotas FOR EACH ROW
    WHEN (NEW.used_bytes > 0) EXECUTE FUNCTION notice_brand_usage();
CREATE TRIGGER notice_update
    AFTER UPDATE OF used_bytes, limit_bytes, warning_threshold_percent, critical_threshold_percent ON storage_quotas FOR EACH ROW
    WHEN (OLD.used_bytes <> NEW.used_bytes OR OLD.limit_bytes <> NEW.limit_bytes
          OR OLD.warning_threshold_percent <> NEW.warning_threshold_percent
          OR OLD.critical_threshold_percent <> NEW.critical_threshold_percent)
    EXECUTE FUNCTION notice_brand_usage();

-- The month that generated items count in.
CREATE FUNCTION quota_month() RETURNS date
LANGUAGE sql VOLATILE
AS $$ SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date $$;

-- What a tenant, or one of its brands, has stored by the rows themselves: where a counter that is not there yet begins.
CREATE FUNCTION quota_stored(p_tenant uuid, p_brand uuid,
                             OUT bytes bigint, OUT items bigint, OUT media_files bigint, OUT media_bytes bigint)
LANGUAGE sql STABLE
AS $$
    SELECT c.bytes + m.bytes, c.items, m.files, m.bytes
    FROM (SELECT coalesce(sum(storage_size_bytes), 0)::bigint AS bytes, count(*) AS items FROM content_storage_metadata
          WHERE tenant_id = p_tenant AND deleted_at IS NULL AND (p_brand IS NULL OR brand_id = p_brand)) AS c,
         (SELECT coalesce(sum(size_bytes), 0)::bigint AS bytes, count(*) AS files FROM media_assets
          WHERE tenant_id = p_tenant AND deleted_at IS NULL AND (p_brand IS NULL OR brand_id = p_brand)) AS m
$$;

-- Which notice of a tenant or brand and level was let through last: one a day, however many deliverers look at once.
CREATE TABLE quota_notice_throttle (
    tenant_id      uuid        NOT NULL,
    -- The brand, or the tenant itself.
    scope_id       uuid        NOT NULL,
    level          integer     NOT NULL,
    notice_id      bigint      NOT NULL,
    let_through_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, scope_id, level)
);

-- First use: the counters begin with what is stored already, or an old tenant could store its limit twice.
CREATE FUNCTION quota_open(p_tenant uuid, p_brand uuid, p_month date, p_plan text, p_limit bigint, p_limit_items bigint) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO quota_generation_usage (tenant_id, month, limit_items)
    SELECT p_tenant, p_month, p_limit_items WHERE p_month IS NOT NULL
    ON CONFLICT DO NOTHING;
    INSERT INTO storage_quotas (brand_id, tenant_id, used_bytes)
    SELECT p_brand, p_tenant, s.bytes FROM quota_stored(p_tenant, p_brand) AS s
    WHERE p_brand IS NOT NULL AND NOT EXISTS (SELECT FROM storage_quotas WHERE brand_id = p_brand)
    ON CONFLICT DO NOTHING;
    INSERT INTO content_quota_usage (tenant_id, plan_tier, limit_bytes, used_bytes, content_items, media_files, media_bytes)
    SELECT p_tenant, p_plan, p_limit, s.bytes, s.items, s.media_files, s.media_bytes FROM quota_stored(p_tenant, NULL) AS s
    WHERE NOT EXISTS (SELECT FROM content_quota_usage WHERE tenant_id = p_tenant)
    ON CONFLICT DO NOTHING;
$$;

-- p_plans is the table of plans: {"free": {"bytes": 1073741824, "items": 100}, …}, null meaning no limit.
CREATE FUNCTION quota_reserve(
    p_tenant uuid, p_brand uuid, p_bytes bigint, p_items bigint, p_media_bytes bigint, p_reason text, p_generated boolean,
    p_ttl interval, p_key text, p_plans jsonb,
    OUT outcome text, OUT reservation_id uuid, OUT reservation_state text, OUT ends_at timestamptz,
    OUT scope text, OUT used bigint, OUT reserved bigint, OUT quota bigint, OUT plan text, OUT plan_recognised boolean)
LANGUAGE plpgsql
AS $$
DECLARE
    total constant bigint := p_bytes + p_media_bytes;
    this_month constant date := CASE WHEN p_generated AND p_items > 0 THEN quota_month() END;
    tier text;
    owner uuid;
    storage_limit bigint;
    items_limit bigint;
    known quota_reservations;
BEGIN
    SELECT t.plan_tier INTO tier FROM tenants t WHERE t.id = p_tenant;
    IF NOT FOUND THEN
        outcome := 'unknown_tenant';
        RETURN;
    END IF;
    plan_recognised := coalesce(p_plans ? tier, false);
    plan := CASE WHEN plan_recognised THEN tier ELSE 'free' END;
    storage_limit := (p_plans #>> ARRAY[plan, 'bytes'])::bigint;
    items_limit := (p_plans #>> ARRAY[plan, 'items'])::bigint;
    IF p_brand IS NOT NULL THEN
        SELECT b.tenant_id INTO owner FROM brands b WHERE b.id = p_brand;
        IF NOT FOUND OR owner IS DISTINCT FROM p_tenant THEN
            outcome := 'unknown_brand';
            RETURN;
        END IF;
    END IF;

    FOR attempt IN 1..10 LOOP
        IF p_key IS NOT NULL THEN
            SELECT * INTO known FROM quota_reservations WHERE tenant_id = p_tenant AND idempotency_key = p_key;
            IF FOUND THEN
                outcome := CASE WHEN (known.brand_id, known.bytes, known.items, known.media_bytes, known.reason)
                                     IS NOT DISTINCT FROM (p_brand, p_bytes, p_items, p_media_bytes, p_reason)
                                THEN 'replayed' ELSE 'key_reused' END;
                reservation_id := known.id;
                reservation_state := known.state;
                ends_at := known.expires_at;
                scope := 'tenant';
                SELECT u.used_bytes, u.reserved_bytes, u.limit_bytes INTO used, reserved, quota
                FROM content_quota_usage u WHERE u.tenant_id = p_tenant;
                RETURN;
            END IF;
        END IF;

        -- A look without a lock, so that asking in vain writes nothing and makes nobody wait.
        outcome := NULL;
        IF this_month IS NOT NULL THEN
            scope := 'generation';
            quota := items_limit;
            SELECT g.used_items, g.reserved_items INTO used, reserved
            FROM quota_generation_usage g WHERE g.tenant_id = p_tenant AND g.month = this_month;
            IF coalesce(used, 0)::numeric + coalesce(reserved, 0) + p_items > quota THEN
                outcome := 'exceeded';
            ELSIF used IS NULL THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
            END IF;
        END IF;
        IF outcome IS NULL AND p_brand IS NOT NULL THEN
            scope := 'brand';
            SELECT s.used_bytes, s.reserved_bytes, s.limit_bytes INTO used, reserved, quota
            FROM storage_quotas s WHERE s.brand_id = p_brand;
            IF NOT FOUND THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
                CONTINUE;
            ELSIF used::numeric + reserved + total > quota THEN
                outcome := 'exceeded';
            END IF;
        END IF;
        IF outcome IS NULL THEN
            scope := 'tenant';
            quota := storage_limit;
            SELECT u.used_bytes, u.reserved_bytes INTO used, reserved FROM content_quota_usage u WHERE u.tenant_id = p_tenant;
            IF NOT FOUND THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
                CONTINUE;
            ELSIF used::numeric + reserved + total > quota THEN
                outcome := 'exceeded';
            END IF;
        END IF;
        IF outcome = 'exceeded' THEN
            used := coalesce(used, 0);
            reserved := coalesce(reserved, 0);
            -- A plan that was lowered shows here first; its notice must not wait for a reservation that fits.
            UPDATE content_quota_usage u SET plan_tier = plan, limit_bytes = storage_limit, updated_at = clock_timestamp()
            WHERE u.tenant_id = p_tenant AND (u.plan_tier, u.limit_bytes) IS DISTINCT FROM (plan, storage_limit);
            RETURN;
        END IF;

        BEGIN
            INSERT INTO quota_reservations (tenant_id, brand_id, bytes, items, media_bytes, reason, idempotency_key, month,
                                            held_bytes, held_items, expires_at)
            VALUES (p_tenant, p_brand, p_bytes, p_items, p_media_bytes, p_reason, p_key, this_month,
                    total, p_items, clock_timestamp() + p_ttl)
            ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING id, state, expires_at INTO reservation_id, reservation_state, ends_at;
            -- Somebody else has just used the key: the next look finds it.
            CONTINUE WHEN NOT FOUND;
            IF this_month IS NOT NULL THEN
                UPDATE quota_generation_usage g
                SET reserved_items = g.reserved_items + p_items, limit_items = items_limit, updated_at = clock_timestamp()
                WHERE g.tenant_id = p_tenant AND g.month = this_month
                  AND (items_limit IS NULL OR g.used_items::numeric + g.reserved_items + p_items <= items_limit);
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            IF p_brand IS NOT NULL THEN
                UPDATE storage_quotas s SET reserved_bytes = s.reserved_bytes + total
                WHERE s.brand_id = p_brand AND s.used_bytes::numeric + s.reserved_bytes + total <= s.limit_bytes;
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            UPDATE content_quota_usage u
            SET reserved_bytes = u.reserved_bytes + total, plan_tier = plan, limit_bytes = storage_limit,
                updated_at = clock_timestamp()
            WHERE u.tenant_id = p_tenant
              AND (storage_limit IS NULL OR u.used_bytes::numeric + u.reserved_bytes + total <= storage_limit)
            RETURNING u.used_bytes, u.reserved_bytes INTO used, reserved;
            IF NOT FOUND THEN
                RAISE SQLSTATE 'QT001';
            END IF;
            outcome := 'reserved';
            RETURN;
        EXCEPTION WHEN SQLSTATE 'QT001' THEN
            -- The room was taken between the look and the write. All scopes are as they were: look again.
            reservation_id := NULL;
        END;
    END LOOP;
    outcome := 'contended';
END
$$;

-- The amounts are those of the whole reservation, or, where p_part is true, of one more part of it.
CREATE FUNCTION quota_settle(
    p_id uuid, p_bytes bigint, p_items bigint, p_media_bytes bigint, p_media_files bigint, p_part boolean, p_plans jsonb,
    OUT outcome text, OUT reservation_state text, OUT tenant uuid, OUT excess bigint,
    OUT scope text, OUT used bigint, OUT reserved bigint, OUT quota bigint, OUT plan text, OUT plan_recognised boolean)
LANGUAGE plpgsql
AS $$
DECLARE
    r quota_reservations;
    tier text;
    storage_limit bigint;
    items_limit bigint;
    more_bytes bigint;
    more_items bigint;
    more_media bigint;
    more_files bigint;
    more bigint;
    freed bigint;
    freed_items bigint;
BEGIN
    SELECT * INTO r FROM quota_reservations WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    tenant := r.tenant_id;
    reservation_state := r.state;
    IF r.state = 'released' OR (r.state = 'settled' AND p_part) THEN
        outcome := 'ended';
        RETURN;
    ELSIF r.state = 'settled' THEN
        outcome := CASE WHEN (r.settled_bytes, r.settled_items, r.settled_media_bytes, r.settled_media_files)
                             = (p_bytes, p_items, p_media_bytes, p_media_files) THEN 'replayed' ELSE 'differs' END;
        RETURN;
    END IF;
    more_bytes := p_bytes - CASE WHEN p_part THEN 0 ELSE r.settled_bytes END;
    more_items := p_items - CASE WHEN p_part THEN 0 ELSE r.settled_items END;
    more_media := p_media_bytes - CASE WHEN p_part THEN 0 ELSE r.settled_media_bytes END;
    more_files := p_media_files - CASE WHEN p_part THEN 0 ELSE r.settled_media_files END;
    IF least(more_bytes, more_items, more_media, more_files) < 0 THEN
        outcome := 'less';
        RETURN;
    END IF;
    more := more_bytes + more_media;
    freed := CASE WHEN p_part THEN least(r.held_bytes, more) ELSE r.held_bytes END;
    freed_items := CASE WHEN p_part THEN least(r.held_items, more_items) ELSE r.held_items END;

    SELECT t.plan_tier INTO tier FROM tenants t WHERE t.id = r.tenant_id;
    plan_recognised := coalesce(p_plans ? tier, false);
    plan := CASE WHEN plan_recognised THEN tier ELSE 'free' END;
    storage_limit := (p_plans #>> ARRAY[plan, 'bytes'])::bigint;
    items_limit := (p_plans #>> ARRAY[plan, 'items'])::bigint;

    FOR attempt IN 1..10 LOOP
        BEGIN
            UPDATE quota_reservations SET
                held_bytes = held_bytes - freed, held_items = held_items - freed_items,
                settled_bytes = settled_bytes + more_bytes, settled_items = settled_items + more_items,
                settled_media_bytes = settled_media_bytes + more_media, settled_media_files = settled_media_files + more_files,
                state = CASE WHEN p_part THEN state ELSE 'settled' END,
                settled_at = CASE WHEN p_part THEN settled_at ELSE clock_timestamp() END
            WHERE id = p_id
            RETURNING state INTO reservation_state;
            -- What was reserved is promised: only what goes beyond must still fit.
            IF r.month IS NOT NULL THEN
                scope := 'generation';
                UPDATE quota_generation_usage g SET
                    reserved_items = g.reserved_items - freed_items, used_items = g.used_items + more_items,
                    updated_at = clock_timestamp()
                WHERE g.tenant_id = r.tenant_id AND g.month = r.month
                  AND (more_items <= freed_items OR items_limit IS NULL
                       OR g.used_items::numeric + g.reserved_items - freed_items + more_items <= items_limit);
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            IF r.brand_id IS NOT NULL THEN
                scope := 'brand';
                UPDATE storage_quotas s SET reserved_bytes = s.reserved_bytes - freed, used_bytes = s.used_bytes + more
                WHERE s.brand_id = r.brand_id
                  AND (more <= freed OR s.used_bytes::numeric + s.reserved_bytes - freed + more <= s.limit_bytes);
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            scope := 'tenant';
            UPDATE content_quota_usage u SET
                reserved_bytes = u.reserved_bytes - freed, used_bytes = u.used_bytes + more,
                content_items = u.content_items + more_items, media_files = u.media_files + more_files,
                media_bytes = u.media_bytes + more_media, plan_tier = plan, limit_bytes = storage_limit,
                updated_at = clock_timestamp()
            WHERE u.tenant_id = r.tenant_id
              AND (more <= freed OR storage_limit IS NULL
                   OR u.used_bytes::numeric + u.reserved_bytes - freed + more <= storage_limit)
            RETURNING u.used_bytes, u.reserved_bytes, u.limit_bytes INTO used, reserved, quota;
            IF NOT FOUND THEN
                RAISE SQLSTATE 'QT001';
            END IF;
            outcome := 'settled';
            RETURN;
        EXCEPTION WHEN SQLSTATE 'QT001' THEN
            reservation_state := r.state;
        END;
        excess := CASE WHEN scope = 'generation' THEN more_items - freed_items ELSE more - freed END;
        IF scope = 'generation' THEN
            SELECT g.used_items, g.reserved_items, items_limit INTO used, reserved, quota
            FROM quota_generation_usage g WHERE g.tenant_id = r.tenant_id AND g.month = r.month;
        ELSIF scope = 'brand' THEN
            SELECT s.used_bytes, s.reserved_bytes, s.limit_bytes INTO used, reserved, quota
            FROM storage_quotas s WHERE s.brand_id = r.brand_id;
        ELSE
            SELECT u.used_bytes, u.reserved_bytes, storage_limit INTO used, reserved, quota
            FROM content_quota_usage u WHERE u.tenant_id = r.tenant_id;
        END IF;
        IF used IS NULL THEN
            outcome := 'no_counter';
            RETURN;
        ELSIF used::numeric + reserved + excess > quota THEN
            outcome := 'exceeded';
            RETURN;
        END IF;
    END LOOP;
    outcome := 'contended';
END
$$;

-- What is left of a reservation goes back. One that has ended stays as it is.
CREATE FUNCTION quota_release(p_id uuid, OUT outcome text)
LANGUAGE plpgsql
AS $$
DECLARE
    r quota_reservations;
BEGIN
    SELECT * INTO r FROM quota_reservations WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    ELSIF r.state <> 'reserved' THEN
        outcome := r.state;
        RETURN;
    END IF;
    -- Of what was settled in parts the books stay as they are; then it ends as settled.
    outcome := CASE WHEN r.settled_bytes + r.settled_items + r.settled_media_bytes + r.settled_media_files > 0
                    THEN 'settled' ELSE 'released' END;
    UPDATE quota_reservations SET state = outcome, held_bytes = 0, held_items = 0, settled_at = clock_timestamp() WHERE id = p_id;
    IF r.month IS NOT NULL THEN
        UPDATE quota_generation_usage g SET reserved_items = g.reserved_items - r.held_items, updated_at = clock_timestamp()
        WHERE g.tenant_id = r.tenant_id AND g.month = r.month;
    END IF;
    IF r.brand_id IS NOT NULL THEN
        UPDATE storage_quotas s SET reserved_bytes = s.reserved_bytes - r.held_bytes WHERE s.brand_id = r.brand_id;
    END IF;
    UPDATE content_quota_usage u SET reserved_bytes = u.reserved_bytes - r.held_bytes, updated_at = clock_timestamp()
    WHERE u.tenant_id = r.tenant_id;
END
$$;

-- Expired reservations of one tenant, at most p_most of them; one that somebody settles at this moment is left to him.
CREATE FUNCTION quota_reap(p_tenant uuid, p_most integer, OUT reservations integer, OUT bytes bigint, OUT items bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    brands uuid[];
    months date[];
    held bigint[];
    held_of_months bigint[];
    part record;
BEGIN
    WITH dead AS (
        SELECT r.id, r.brand_id, r.month, r.held_bytes, r.held_items FROM quota_reservations r
        WHERE r.tenant_id = p_tenant AND r.state = 'reserved' AND r.expires_at <= clock_timestamp()
        ORDER BY r.expires_at LIMIT p_most FOR UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE quota_reservations r SET state = 'expired', held_bytes = 0, held_items = 0, settled_at = clock_timestamp()
        FROM dead WHERE r.id = dead.id
        RETURNING dead.brand_id, dead.month, dead.held_bytes, dead.held_items
    )
    SELECT count(*), coalesce(sum(e.held_bytes), 0), coalesce(sum(e.held_items), 0),
           array_agg(e.brand_id), array_agg(e.month), array_agg(e.held_bytes), array_agg(e.held_items)
    INTO reservations, bytes, items, brands, months, held, held_of_months
    FROM ended AS e;
    IF reservations = 0 THEN
        RETURN;
    END IF;
    FOR part IN
        SELECT m AS month, sum(h)::bigint AS held FROM unnest(months, held_of_months) AS x (m, h)
        WHERE m IS NOT NULL GROUP BY m ORDER BY m
    LOOP
        UPDATE quota_generation_usage g SET reserved_items = g.reserved_items - part.held, updated_at = clock_timestamp()
        WHERE g.tenant_id = p_tenant AND g.month = part.month;
    END LOOP;
    FOR part IN
        SELECT b AS brand_id, sum(h)::bigint AS held FROM unnest(brands, held) AS x (b, h)
        WHERE b IS NOT NULL GROUP BY b ORDER BY b
    LOOP
        UPDATE storage_quotas s SET reserved_bytes = s.reserved_bytes - part.held WHERE s.brand_id = part.brand_id;
    END LOOP;
    UPDATE content_quota_usage u SET reserved_bytes = u.reserved_bytes - bytes, updated_at = clock_timestamp()
    WHERE u.tenant_id = p_tenant;
END
$$;

-- Content was deleted: usage goes down, never below nothing (the next reconcile says where that came from).
CREATE FUNCTION quota_give_back(p_tenant uuid, p_brand uuid, p_bytes bigint, p_items bigint, p_media_bytes bigint, p_media_files bigint,
                                OUT used bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_brand IS NOT NULL THEN
        UPDATE storage_quotas s SET used_bytes = greatest(s.used_bytes - p_bytes - p_media_bytes, 0) WHERE s.brand_id = p_brand;
    END IF;
    UPDATE content_quota_usage u SET
        used_bytes = greatest(u.used_bytes - p_bytes - p_media_bytes, 0), content_items = greatest(u.content_items - p_items, 0),
        media_files = greatest(u.media_files - p_media_files, 0), media_bytes = greatest(u.media_bytes - p_media_bytes, 0),
        updated_at = clock_timestamp()
    WHERE u.tenant_id = p_tenant
    RETURNING u.used_bytes INTO used;
END
$$;

-- Brings limits to the plan that the platform has for the tenant; the triggers look at the thresholds.
CREATE FUNCTION quota_apply_plan(p_tenant uuid, p_plans jsonb,
                                 OUT outcome text, OUT plan text, OUT plan_recognised boolean, OUT plan_before text,
                                 OUT used bigint, OUT reserved bigint, OUT quota bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    tier text;
    items_limit bigint;
    quota_before bigint;
BEGIN
    SELECT t.plan_tier INTO tier FROM tenants t WHERE t.id = p_tenant;
    IF NOT FOUND THEN
        outcome := 'unknown_tenant';
        RETURN;
    END IF;
    plan_recognised := coalesce(p_plans ? tier, false);
    plan := CASE WHEN plan_recognised THEN tier ELSE 'free' END;
    quota := (p_plans #>> ARRAY[plan, 'bytes'])::bigint;
    items_limit := (p_plans #>> ARRAY[plan, 'items'])::bigint;
    PERFORM quota_open(p_tenant, NULL, NULL, plan, quota, items_limit);
    UPDATE quota_generation_usage g SET limit_items = items_limit, updated_at = clock_timestamp()
    WHERE g.tenant_id = p_tenant AND g.month = quota_month() AND g.limit_items IS DISTINCT FROM items_limit;
    SELECT u.plan_tier, u.limit_bytes, u.used_bytes, u.reserved_bytes INTO plan_before, quota_before, used, reserved
    FROM content_quota_usage u WHERE u.tenant_id = p_tenant FOR UPDATE;
    outcome := 'unchanged';
    IF (plan_before, quota_before) IS DISTINCT FROM (plan, quota) THEN
        UPDATE content_quota_usage u SET plan_tier = plan, limit_bytes = quota, updated_at = clock_timestamp()
        WHERE u.tenant_id = p_tenant;
        outcome := 'changed';
    END IF;
END
$$;
