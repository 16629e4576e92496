-- The generation queue: items, provider calls, queues and lanes to claim from, budgets, history, and the fenced transitions.
-- Lock order everywhere: lane, queues by id, items, budget, quota. Whoever changes the status of an item holds its queue's
-- row, so the counters there are exact and the cap is too; heartbeat and progress keep the status and do not.

-- Whose turn it is. A table of active tenants, so that a claim never sorts what is queued.
CREATE TABLE generation_lanes (
    -- The nil UUID for rows of the older shape whose tenant nobody knows.
    tenant_id uuid        PRIMARY KEY,
    open      boolean     NOT NULL DEFAULT true,
    served_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
CREATE INDEX generation_lanes_next ON generation_lanes (served_at) WHERE open;

-- One row a batch, and one a tenant for rows without a batch. Beside content_generation_jobs, which keeps its shape.
CREATE TABLE generation_queues (
    -- The batch's id, or the lane's.
    id              uuid          PRIMARY KEY,
    tenant_id       uuid          NOT NULL,
    batch_id        uuid          CHECK (batch_id = id),
    priority        smallint      NOT NULL DEFAULT 0,
    created_at      timestamptz   NOT NULL DEFAULT clock_timestamp(),
    started_at      timestamptz,
    open            boolean       NOT NULL DEFAULT true,
    queued          integer       NOT NULL DEFAULT 0 CHECK (queued >= 0),
    -- At most ten of a batch at once: whatever a claim gets wrong, this does not.
    running         integer       NOT NULL DEFAULT 0 CHECK (running BETWEEN 0 AND 10),
    -- Finished by a provider and waiting to be stored. Claims stop at 50, and the ten that run may still come.
    storing         integer       NOT NULL DEFAULT 0 CHECK (storing BETWEEN 0 AND 100),
    succeeded       integer       NOT NULL DEFAULT 0 CHECK (succeeded >= 0),
    failed          integer       NOT NULL DEFAULT 0 CHECK (failed >= 0),
    cancelled       integer       NOT NULL DEFAULT 0 CHECK (cancelled >= 0),
    stored_bytes    bigint        NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
    cost_usd        numeric(14,6) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    -- Somebody cancelled the batch.
    stopped         boolean       NOT NULL DEFAULT false,
    request_sha256  text          CHECK (request_sha256 ~ '^[0-9a-f]{64}$'),
    reservation_id  uuid,
    max_cost_usd    numeric(14,6) CHECK (max_cost_usd >= 0),
    -- What the budget's reserved_usd still holds for this batch, and in which month.
    held_usd        numeric(14,6) NOT NULL DEFAULT 0 CHECK (held_usd >= 0),
    budget_month    date,
    -- When the books were closed.
    settled_at      timestamptz,
    CHECK (settled_at IS NULL OR held_usd = 0)
) WITH (fillfactor = 50);
CREATE INDEX generation_queues_open ON generation_queues (tenant_id, priority DESC, created_at) WHERE open;
CREATE INDEX generation_queues_unsettled ON generation_queues (id) WHERE batch_id IS NOT NULL AND settled_at IS NULL;

CREATE TABLE generation_jobs (
    id                       text          COLLATE "C" PRIMARY KEY DEFAULT gen_random_uuid()::text,
    batch_id                 uuid,
    queue_id                 uuid          NOT NULL,
    tenant_id                uuid,
    topic_id                 uuid,
    article_id               uuid,
    request_data             jsonb         NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(request_data) = 'object'),
    status                   text          NOT NULL DEFAULT 'queued'
                                           CHECK (status IN ('queued', 'running', 'storing', 'completed', 'failed', 'cancelled')),
    phase                    text          NOT NULL DEFAULT 'queued'
                                           CHECK (phase IN ('queued', 'analyzing', 'structuring', 'writing', 'optimizing', 'finalizing',
                                                            'completed', 'error')),
    percentage               smallint      NOT NULL DEFAULT 0 CHECK (percentage BETWEEN 0 AND 100),
    current_step             text,
    -- In seconds.
    estimated_time_remaining integer       CHECK (estimated_time_remaining >= 0),
    provider_used            text,
    -- In US dollars, of all attempts that were reported.
    cost                     numeric(14,6) NOT NULL DEFAULT 0 CHECK (cost >= 0),
    word_count               integer       CHECK (word_count >= 0),
    seo_score                smallint      CHECK (seo_score BETWEEN 0 AND 100),
    content_id               uuid,
    error_category           text          CHECK (error_category IN ('provider', 'rate_limit', 'content_policy', 'quota', 'invalid_request',
                                                                     'timeout', 'crash', 'unknown')),
    error_message            text,
    attempts                 smallint      NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts             smallint      NOT NULL DEFAULT 3 CHECK (max_attempts >= 1),
    -- Only grows: a worker whose token is not this one has lost the item.
    lease_token              bigint        NOT NULL DEFAULT 0,
    lease_expires_at         timestamptz,
    worker                   text,
    run_after                timestamptz   NOT NULL DEFAULT clock_timestamp(),
    priority                 smallint      NOT NULL DEFAULT 0,
    created_at               timestamptz   NOT NULL DEFAULT clock_timestamp(),
    updated_at               timestamptz   NOT NULL DEFAULT clock_timestamp(),
    started_at               timestamptz,
    completed_at             timestamptz,
    CHECK (batch_id IS NULL OR (batch_id = queue_id AND tenant_id IS NOT NULL)),
    CHECK (attempts <= max_attempts),
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    CHECK ((status IN ('running', 'storing')) = (lease_expires_at IS NOT NULL))
-- Progress and heartbeats touch no indexed column: with room on the page they are HOT and cost no index anything.
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- Exactly the order of a claim.
CREATE INDEX generation_jobs_queued ON generation_jobs (queue_id, priority DESC, run_after, id) WHERE status = 'queued';
CREATE INDEX generation_jobs_held ON generation_jobs (queue_id) WHERE status IN ('running', 'storing');
CREATE INDEX generation_jobs_ended ON generation_jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX generation_jobs_batch ON generation_jobs (batch_id) WHERE batch_id IS NOT NULL;

-- A provider call, written before it is made, so that no cost is lost with the worker.
CREATE TABLE generation_attempts (
    id            uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id     uuid,
    batch_id      uuid,
    queue_id      uuid          NOT NULL,
    job_id        text          COLLATE "C" NOT NULL,
    -- Which try of the item it belongs to; several providers may be asked in one.
    attempt       smallint      NOT NULL,
    lease_token   bigint        NOT NULL,
    provider      text          NOT NULL,
    model         text          NOT NULL,
    started_at    timestamptz   NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz,
    outcome       text          CHECK (outcome IN ('succeeded', 'provider', 'rate_limit', 'content_policy', 'quota', 'invalid_request',
                                                   'timeout', 'crash', 'unknown')),
    -- Whether the worker itself said how it ended. A reaper writes `crash` for one that is silent; it may still speak.
    reported      boolean       NOT NULL DEFAULT false,
    input_tokens  bigint        NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens bigint        NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cost_usd      numeric(14,6) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    message       text,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX generation_attempts_job ON generation_attempts (job_id);
CREATE INDEX generation_attempts_batch ON generation_attempts (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX generation_attempts_started ON generation_attempts USING brin (started_at);

-- What a tenant may spend in a month (UTC). Without a limit it is only counted.
CREATE TABLE generation_budgets (
    tenant_id    uuid          NOT NULL,
    month        date          NOT NULL CHECK (extract(day FROM month) = 1),
    limit_usd    numeric(14,6) CHECK (limit_usd >= 0),
    reserved_usd numeric(14,6) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
    spent_usd    numeric(14,6) NOT NULL DEFAULT 0 CHECK (spent_usd >= 0),
    updated_at   timestamptz   NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, month)
) WITH (fillfactor = 50);

-- A partition a day, made when the first item of that day moves in, dropped whole.
CREATE TABLE generation_jobs_history (LIKE generation_jobs) PARTITION BY RANGE (completed_at);
ALTER TABLE generation_jobs_history ALTER COLUMN completed_at SET NOT NULL;
CREATE INDEX generation_jobs_history_id ON generation_jobs_history (id);
CREATE INDEX generation_jobs_history_batch ON generation_jobs_history (batch_id);
CREATE TABLE generation_jobs_history_default PARTITION OF generation_jobs_history DEFAULT;
CREATE TABLE generation_attempts_history (LIKE generation_attempts, job_completed_at timestamptz NOT NULL)
    PARTITION BY RANGE (job_completed_at);
CREATE INDEX generation_attempts_history_id ON generation_attempts_history (id);
CREATE INDEX generation_attempts_history_job ON generation_attempts_history (job_id);
CREATE INDEX generation_attempts_history_batch ON generation_attempts_history (batch_id);
CREATE TABLE generation_attempts_history_default PARTITION OF generation_attempts_history DEFAULT;

-- A row in the older shape has no batch. It gets the tenant of its topic or article, a state that this queue knows, and
-- the queue of its tenant: then it is claimed like any other.
CREATE FUNCTION generation_adopt() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.tenant_id := coalesce(NEW.tenant_id,
                              (SELECT t.tenant_id FROM topics t WHERE t.id = NEW.topic_id),
                              (SELECT a.tenant_id FROM articles a WHERE a.id = NEW.article_id));
    NEW.queue_id := coalesce(NEW.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid);
    NEW.status := CASE lower(NEW.status) WHEN 'error' THEN 'failed' WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
                                         WHEN 'cancelled' THEN 'cancelled' WHEN 'canceled' THEN 'cancelled' ELSE 'queued' END;
    IF NEW.status = 'queued' THEN
        -- Nobody is at work on it: who was, worked in a process that has ended.
        NEW.phase := 'queued';
        NEW.percentage := 0;
        NEW.completed_at := NULL;
        NEW.attempts := 0;
    ELSE
        NEW.completed_at := coalesce(NEW.completed_at, NEW.updated_at, NEW.created_at, clock_timestamp());
        NEW.phase := CASE NEW.status WHEN 'completed' THEN 'completed' ELSE 'error' END;
    END IF;
    NEW.lease_expires_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER adopt BEFORE INSERT ON generation_jobs FOR EACH ROW WHEN (NEW.batch_id IS NULL) EXECUTE FUNCTION generation_adopt();

-- Counted behind the insert: ON CONFLICT DO NOTHING may have left the row out.
CREATE FUNCTION generation_count_adopted() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO generation_lanes AS l (tenant_id) VALUES (NEW.queue_id)
    ON CONFLICT (tenant_id) DO UPDATE SET open = true;
    INSERT INTO generation_queues AS q (id, tenant_id, queued, succeeded, failed, cancelled, open)
    VALUES (NEW.queue_id, NEW.queue_id, (NEW.status = 'queued')::integer, (NEW.status = 'completed')::integer,
            (NEW.status = 'failed')::integer, (NEW.status = 'cancelled')::integer, NEW.status = 'queued')
    ON CONFLICT (id) DO UPDATE SET
        queued = q.queued + excluded.queued, succeeded = q.succeeded + excluded.succeeded, failed = q.failed + excluded.failed,
        cancelled = q.cancelled + excluded.cancelled, open = q.open OR excluded.open;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_adopted AFTER INSERT ON generation_jobs FOR EACH ROW WHEN (NEW.batch_id IS NULL)
    EXECUTE FUNCTION generation_count_adopted();

-- Up to p_most items of one queue, under its row lock. None while fifty wait to be stored: texts must not pile up.
-- Statistics lag behind a queue that fills and empties, so the way to the rows is not left to them.
CREATE FUNCTION generation_take(p_queue uuid, p_most integer, p_worker text, p_lease interval)
RETURNS SETOF generation_jobs
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    most integer;
    began timestamptz;
    moment timestamptz;
    taken integer;
BEGIN
    SELECT least(p_most, 10 - q.running), q.started_at INTO most, began FROM generation_queues q
    WHERE q.id = p_queue AND q.open AND q.queued > 0 AND q.running < 10 AND q.storing < 50 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    moment := clock_timestamp();
    RETURN QUERY
    UPDATE generation_jobs j SET
        status = 'running', attempts = j.attempts + 1, lease_token = j.lease_token + 1, lease_expires_at = moment + p_lease,
        worker = p_worker, started_at = coalesce(j.started_at, moment), updated_at = moment
    FROM (SELECT w.id FROM generation_jobs w
          WHERE w.queue_id = p_queue AND w.status = 'queued' AND w.run_after <= moment
          ORDER BY w.priority DESC, w.run_after, w.id LIMIT most) AS waiting
    WHERE j.id = waiting.id
    RETURNING j.*;
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken > 0 THEN
        UPDATE generation_queues q SET queued = q.queued - taken, running = q.running + taken, started_at = coalesce(began, moment)
        WHERE q.id = p_queue;
        IF began IS NULL THEN
            UPDATE content_generation_jobs b SET status = 'running', started_at = moment WHERE b.id = p_queue AND b.status = 'queued';
        END IF;
    END IF;
END
$$;

-- Items for one worker: of one queue, or fairly of all. Tenants in turn, the one that was served longest ago first; within
-- a tenant by the batch's priority, then its age; within a batch by the item's. Waits for no lock while another queue is free.
CREATE FUNCTION generation_claim(p_most integer, p_worker text, p_lease interval, p_queue uuid) RETURNS SETOF generation_jobs
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    -- A variable, since an index cannot be searched for what clock_timestamp() says anew for every row.
    moment constant timestamptz := clock_timestamp();
    lane uuid;
    candidate uuid;
    passed uuid;
    holding boolean := false;
    left_over integer := p_most;
    taken integer;
    candidates integer;
    served uuid[] := '{}';
    idle uuid[] := '{}';
BEGIN
    IF p_queue IS NOT NULL THEN
        RETURN QUERY SELECT * FROM generation_take(p_queue, p_most, p_worker, p_lease);
        RETURN;
    END IF;
    FOR lane IN SELECT l.tenant_id FROM generation_lanes l WHERE l.open ORDER BY l.served_at LOOP
        candidates := 0;
        FOR candidate IN
            SELECT q.id FROM generation_queues q
            WHERE q.tenant_id = lane AND q.open AND q.queued > 0 AND q.running < 10 AND q.storing < 50
            ORDER BY q.priority DESC, q.created_at
        LOOP
            candidates := candidates + 1;
            -- Where all wait for a retry there is nothing to lock it for.
            CONTINUE WHEN NOT EXISTS (SELECT FROM generation_jobs w
                                      WHERE w.queue_id = candidate AND w.status = 'queued' AND w.run_after <= moment);
            PERFORM FROM generation_queues q WHERE q.id = candidate FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                passed := coalesce(passed, candidate);
                CONTINUE;
            END IF;
            holding := true;
            RETURN QUERY SELECT * FROM generation_take(candidate, left_over, p_worker, p_lease);
            GET DIAGNOSTICS taken = ROW_COUNT;
            left_over := left_over - taken;
            IF taken > 0 AND served[cardinality(served)] IS DISTINCT FROM lane THEN
                served := served || lane;
            END IF;
            EXIT WHEN left_over = 0;
        END LOOP;
        IF candidates = 0 AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.tenant_id = lane AND q.open) THEN
            idle := idle || lane;
        END IF;
        EXIT WHEN left_over = 0;
    END LOOP;
    IF passed IS NOT NULL AND NOT holding THEN
        -- Everything was locked by others: with no lock in hand it is safe to wait for one.
        RETURN QUERY SELECT * FROM generation_take(passed, p_most, p_worker, p_lease);
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken > 0 THEN
            SELECT q.tenant_id INTO lane FROM generation_queues q WHERE q.id = passed;
            served := served || lane;
        END IF;
    END IF;
    IF served <> '{}' THEN
        -- A lane that somebody else is serving at this moment has had its turn anyway.
        UPDATE generation_lanes l SET served_at = clock_timestamp()
        FROM (SELECT w.tenant_id FROM generation_lanes w WHERE w.tenant_id = ANY (served) FOR UPDATE SKIP LOCKED) AS free
        WHERE l.tenant_id = free.tenant_id;
    END IF;
    -- Whoever submits takes the lane before the batch can be seen, so the second look, behind the lock, is the true one.
    FOR lane IN SELECT w.tenant_id FROM generation_lanes w WHERE w.tenant_id = ANY (idle) FOR UPDATE SKIP LOCKED LOOP
        UPDATE generation_lanes l SET open = false
        WHERE l.tenant_id = lane AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.tenant_id = lane AND q.open);
    END LOOP;
END
$$;

-- The queues of some items, locked in the order that everybody keeps.
CREATE FUNCTION generation_lock(p_ids text[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM FROM generation_queues q
    WHERE q.id IN (SELECT j.queue_id FROM generation_jobs j WHERE j.id = ANY (p_ids)) ORDER BY q.id FOR UPDATE;
END
$$;

-- From running to storing, where the provider has replied: it frees a place among the ten, and the lease goes on.
CREATE FUNCTION generation_hold(p_id text, p_token bigint, p_step text) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    queue uuid;
BEGIN
    PERFORM generation_lock(ARRAY[p_id]);
    UPDATE generation_jobs j SET
        status = 'storing', phase = 'finalizing', percentage = 90, current_step = p_step, updated_at = clock_timestamp(),
        estimated_time_remaining = least(extract(epoch FROM clock_timestamp() - j.started_at) / 9, 2147483647)
    WHERE j.id = p_id AND j.lease_token = p_token AND j.status = 'running'
    RETURNING j.queue_id INTO queue;
    IF FOUND THEN
        UPDATE generation_queues q SET running = q.running - 1, storing = q.storing + 1 WHERE q.id = queue;
        RETURN true;
    END IF;
    -- Whoever asks again, because the answer was lost, is answered the same.
    RETURN EXISTS (SELECT FROM generation_jobs j WHERE j.id = p_id AND j.lease_token = p_token AND j.status = 'storing');
END
$$;

-- The ids that were accepted: those whose token is still the item's. Under the lock of its queue no item changes its status,
-- so the one that is read beside the update is the one that it had.
CREATE FUNCTION generation_complete(
    p_ids text[], p_tokens bigint[], p_contents uuid[], p_words integer[], p_scores integer[], p_providers text[], p_bytes bigint[])
RETURNS SETOF text
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM generation_lock(p_ids);
    RETURN QUERY
    WITH done AS (
        UPDATE generation_jobs j SET
            status = 'completed', phase = 'completed', percentage = 100, current_step = NULL, estimated_time_remaining = 0,
            content_id = d.content_id, word_count = d.words, seo_score = d.score, provider_used = d.provider,
            error_category = NULL, error_message = NULL, lease_expires_at = NULL,
            updated_at = clock_timestamp(), completed_at = clock_timestamp()
        FROM unnest(p_ids, p_tokens, p_contents, p_words, p_scores, p_providers, p_bytes)
             AS d (id, token, content_id, words, score, provider, bytes)
        JOIN generation_jobs w ON w.id = d.id
        WHERE j.id = d.id AND j.lease_token = d.token AND j.status IN ('running', 'storing')
        RETURNING j.id, j.queue_id, d.bytes, w.status
    ), ended AS (
        SELECT queue_id, count(*) AS items, count(*) FILTER (WHERE status = 'storing') AS stored, sum(bytes) AS bytes
        FROM done GROUP BY queue_id
    ), counted AS (
        UPDATE generation_queues q SET
            running = q.running - (e.items - e.stored), storing = q.storing - e.stored, succeeded = q.succeeded + e.items,
            stored_bytes = q.stored_bytes + e.bytes, open = q.queued + q.running + q.storing - e.items > 0
        FROM ended e WHERE q.id = e.queue_id
    )
    SELECT done.id FROM done;
END
$$;

-- 'retried', 'failed' or 'stale'. p_after is what the provider asked for; the wait is random up to p_base doubled each time.
CREATE FUNCTION generation_fail(
    p_id text, p_token bigint, p_category text, p_message text, p_final boolean, p_after interval, p_base interval, p_longest interval)
RETURNS text
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    queue uuid;
    again boolean;
    held text;
BEGIN
    PERFORM generation_lock(ARRAY[p_id]);
    UPDATE generation_jobs j SET
        status = CASE WHEN f.again THEN 'queued' ELSE 'failed' END, phase = CASE WHEN f.again THEN 'queued' ELSE 'error' END,
        percentage = CASE WHEN f.again THEN 0 ELSE j.percentage END, current_step = NULL, estimated_time_remaining = NULL,
        error_category = p_category, error_message = p_message, lease_expires_at = NULL,
        run_after = CASE WHEN f.again THEN
            clock_timestamp() + greatest(p_after, interval '0') + random() * least(p_longest, p_base * 2 ^ (j.attempts - 1))
            ELSE j.run_after END,
        updated_at = clock_timestamp(), completed_at = CASE WHEN f.again THEN NULL ELSE clock_timestamp() END
    FROM (SELECT w.id, w.status, NOT p_final AND w.attempts < w.max_attempts AS again FROM generation_jobs w WHERE w.id = p_id) AS f
    WHERE j.id = f.id AND j.lease_token = p_token AND j.status IN ('running', 'storing')
    RETURNING j.queue_id, f.again, f.status INTO queue, again, held;
    IF NOT FOUND THEN
        RETURN 'stale';
    END IF;
    UPDATE generation_queues q SET
        running = q.running - (held = 'running')::integer, storing = q.storing - (held = 'storing')::integer,
        queued = q.queued + again::integer, failed = q.failed + (NOT again)::integer,
        open = q.queued + q.running + q.storing - 1 + again::integer > 0
    WHERE q.id = queue;
    RETURN CASE WHEN again THEN 'retried' ELSE 'failed' END;
END
$$;

-- Back into the queue as if it had not been claimed: the worker was asked to stop.
CREATE FUNCTION generation_release(p_id text, p_token bigint) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    queue uuid;
    held text;
BEGIN
    PERFORM generation_lock(ARRAY[p_id]);
    UPDATE generation_jobs j SET
        status = 'queued', phase = 'queued', percentage = 0, current_step = NULL, estimated_time_remaining = NULL,
        attempts = j.attempts - 1, lease_expires_at = NULL, updated_at = clock_timestamp()
    FROM generation_jobs w
    WHERE j.id = p_id AND w.id = j.id AND j.lease_token = p_token AND j.status IN ('running', 'storing')
    RETURNING j.queue_id, w.status INTO queue, held;
    IF FOUND THEN
        UPDATE generation_queues q SET
            running = q.running - (held = 'running')::integer, storing = q.storing - (held = 'storing')::integer, queued = q.queued + 1
        WHERE q.id = queue;
    END IF;
    RETURN queue IS NOT NULL;
END
$$;

-- Items whose worker fell silent, queue by queue; what somebody else holds at this moment is left to the next look.
CREATE FUNCTION generation_reap(p_most integer, OUT retried integer, OUT failed integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    silent uuid;
    ids text[];
    again integer;
    dead integer;
    stored integer;
BEGIN
    retried := 0;
    failed := 0;
    FOR silent IN
        SELECT DISTINCT j.queue_id FROM generation_jobs j
        WHERE j.status IN ('running', 'storing') AND j.lease_expires_at <= clock_timestamp() LIMIT p_most
    LOOP
        PERFORM FROM generation_queues q WHERE q.id = silent FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        WITH expired AS (
            SELECT j.id, j.status FROM generation_jobs j
            WHERE j.queue_id = silent AND j.status IN ('running', 'storing') AND j.lease_expires_at <= clock_timestamp()
            FOR UPDATE SKIP LOCKED
        ), reaped AS (
            UPDATE generation_jobs j SET
                status = CASE WHEN j.attempts < j.max_attempts THEN 'queued' ELSE 'failed' END,
                phase = CASE WHEN j.attempts < j.max_attempts THEN 'queued' ELSE 'error' END,
                percentage = CASE WHEN j.attempts < j.max_attempts THEN 0 ELSE j.percentage END,
                current_step = NULL, estimated_time_remaining = NULL, lease_expires_at = NULL,
                error_category = 'crash', error_message = 'the lease of worker ' || coalesce(j.worker, '(unnamed)') || ' expired',
                run_after = CASE WHEN j.attempts < j.max_attempts THEN clock_timestamp() ELSE j.run_after END,
                updated_at = clock_timestamp(),
                completed_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE clock_timestamp() END
            FROM expired e WHERE j.id = e.id
            RETURNING j.id, j.status, e.status AS held
        )
        SELECT array_agg(r.id), count(*) FILTER (WHERE r.status = 'queued'), count(*) FILTER (WHERE r.status = 'failed'),
               count(*) FILTER (WHERE r.held = 'storing')
        INTO ids, again, dead, stored FROM reaped r;
        CONTINUE WHEN ids IS NULL;
        UPDATE generation_attempts a SET outcome = 'crash', ended_at = clock_timestamp(), message = 'the worker fell silent'
        WHERE a.job_id = ANY (ids) AND a.ended_at IS NULL;
        UPDATE generation_queues q SET
            running = q.running - (again + dead - stored), storing = q.storing - stored, queued = q.queued + again,
            failed = q.failed + dead, open = q.queued + q.running + q.storing - dead > 0
        WHERE q.id = silent;
        retried := retried + again;
        failed := failed + dead;
    END LOOP;
END
$$;

-- How many were cancelled. p_item is one item, or NULL for all of the queue's that are open. A held item's token moves.
CREATE FUNCTION generation_cancel(p_tenant uuid, p_queue uuid, p_item text) RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    waiting integer;
    working integer;
    stored integer;
BEGIN
    PERFORM FROM generation_queues q WHERE q.id = p_queue AND q.tenant_id = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH hit AS (
        SELECT j.id, j.status FROM generation_jobs j
        WHERE j.queue_id = p_queue AND j.status IN ('queued', 'running', 'storing') AND (p_item IS NULL OR j.id = p_item)
        ORDER BY j.id FOR UPDATE
    ), gone AS (
        UPDATE generation_jobs j SET
            status = 'cancelled', phase = 'error', lease_token = j.lease_token + 1, lease_expires_at = NULL,
            current_step = 'cancelled', estimated_time_remaining = NULL, updated_at = clock_timestamp(), completed_at = clock_timestamp()
        FROM hit WHERE j.id = hit.id
        RETURNING hit.status
    )
    SELECT count(*) FILTER (WHERE g.status = 'queued'), count(*) FILTER (WHERE g.status = 'running'),
           count(*) FILTER (WHERE g.status = 'storing')
    INTO waiting, working, stored FROM gone g;
    UPDATE generation_queues q SET
        queued = q.queued - waiting, running = q.running - working, storing = q.storing - stored,
        cancelled = q.cancelled + waiting + working + stored,
        stopped = q.stopped OR (p_item IS NULL AND q.batch_id IS NOT NULL AND waiting + working + stored > 0),
        open = q.queued - waiting + q.running - working + q.storing - stored > 0
    WHERE q.id = p_queue;
    RETURN waiting + working + stored;
END
$$;

-- What a call cost, whether or not the worker still holds the item: the money is spent. False where it was reported before.
CREATE FUNCTION generation_end_attempt(
    p_id uuid, p_outcome text, p_input bigint, p_output bigint, p_cost numeric, p_message text)
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    usd constant numeric(14,6) := p_cost;
    made generation_attempts;
    books generation_queues;
BEGIN
    SELECT * INTO made FROM generation_attempts WHERE id = p_id;
    IF FOUND THEN
        SELECT * INTO books FROM generation_queues WHERE id = made.queue_id FOR UPDATE;
        UPDATE generation_attempts SET
            outcome = p_outcome, ended_at = clock_timestamp(), reported = true, input_tokens = p_input, output_tokens = p_output,
            cost_usd = usd, message = p_message
        WHERE id = p_id AND NOT reported;
    END IF;
    IF NOT FOUND THEN
        -- A worker that was stopped for more than a day finds its attempt in the history.
        UPDATE generation_attempts_history SET
            outcome = p_outcome, ended_at = clock_timestamp(), reported = true, input_tokens = p_input, output_tokens = p_output,
            cost_usd = usd, message = p_message
        WHERE id = p_id AND NOT reported
        RETURNING queue_id, job_id INTO made.queue_id, made.job_id;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        SELECT * INTO books FROM generation_queues WHERE id = made.queue_id FOR UPDATE;
        UPDATE generation_jobs_history SET cost = cost + usd WHERE id = made.job_id AND usd > 0;
    ELSIF usd > 0 THEN
        UPDATE generation_jobs SET cost = cost + usd WHERE id = made.job_id;
    END IF;
    IF usd > 0 THEN
        UPDATE generation_queues SET cost_usd = cost_usd + usd WHERE id = books.id;
        IF books.settled_at IS NOT NULL THEN
            -- The books were closed without it.
            UPDATE content_generation_jobs SET total_cost_usd = total_cost_usd + usd WHERE id = books.batch_id;
            UPDATE generation_budgets SET spent_usd = spent_usd + usd, updated_at = clock_timestamp()
            WHERE tenant_id = books.tenant_id AND month = books.budget_month;
        ELSIF books.batch_id IS NULL AND made.tenant_id IS NOT NULL THEN
            -- Nobody closes the books of rows without a batch.
            INSERT INTO generation_budgets AS b (tenant_id, month, spent_usd) VALUES (made.tenant_id, quota_month(), usd)
            ON CONFLICT (tenant_id, month) DO UPDATE SET spent_usd = b.spent_usd + usd, updated_at = clock_timestamp();
        END IF;
    END IF;
    RETURN true;
END
$$;

-- Closes the books of a batch once, when nothing of it is open. The quota's part is the ledger's, in the same transaction.
CREATE FUNCTION generation_finish(p_batch uuid, OUT outcome text, OUT status text, OUT reservation_id uuid)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    q generation_queues;
    spent numeric(14,6);
    why text;
BEGIN
    SELECT * INTO q FROM generation_queues WHERE id = p_batch AND batch_id IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    ELSIF q.settled_at IS NOT NULL THEN
        outcome := 'settled';
        SELECT b.status INTO status FROM content_generation_jobs b WHERE b.id = p_batch;
        RETURN;
    ELSIF q.queued + q.running + q.storing > 0 THEN
        outcome := 'open';
        RETURN;
    END IF;
    outcome := 'closed';
    status := CASE WHEN q.stopped THEN 'cancelled' WHEN q.succeeded > 0 THEN 'completed'
                   WHEN q.failed > 0 THEN 'failed' ELSE 'cancelled' END;
    reservation_id := q.reservation_id;
    SELECT coalesce(sum(a.cost_usd), 0) INTO spent FROM generation_attempts a WHERE a.batch_id = p_batch;
    IF q.failed > 0 THEN
        SELECT format('%s of %s items failed: %s', q.failed, q.succeeded + q.failed + q.cancelled,
                      string_agg(f.error_category || ' ' || f.items, ', ' ORDER BY f.items DESC, f.error_category))
        INTO why
        FROM (SELECT j.error_category, count(*) AS items FROM generation_jobs j
              WHERE j.batch_id = p_batch AND j.status = 'failed' GROUP BY j.error_category) AS f;
    END IF;
    UPDATE content_generation_jobs b SET
        status = generation_finish.status, succeeded_count = q.succeeded, failed_count = q.failed,
        total_storage_bytes = q.stored_bytes, total_cost_usd = spent, error_message = why, completed_at = clock_timestamp()
    WHERE b.id = p_batch;
    UPDATE generation_queues w SET settled_at = clock_timestamp(), held_usd = 0, cost_usd = spent, open = false WHERE w.id = p_batch;
    UPDATE generation_budgets m SET
        reserved_usd = m.reserved_usd - q.held_usd, spent_usd = m.spent_usd + spent, updated_at = clock_timestamp()
    WHERE m.tenant_id = q.tenant_id AND m.month = q.budget_month;
END
$$;

-- Counts anew what somebody changed by hand: a queue's counters from its rows, those in the history included.
CREATE FUNCTION generation_recount(p_queue uuid) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    before generation_queues;
    after generation_queues;
BEGIN
    INSERT INTO generation_lanes AS l (tenant_id) SELECT q.tenant_id FROM generation_queues q WHERE q.id = p_queue
    ON CONFLICT (tenant_id) DO UPDATE SET open = true;
    SELECT * INTO before FROM generation_queues WHERE id = p_queue FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE generation_queues q SET
        queued = n.queued, running = n.running, storing = n.storing, succeeded = n.succeeded, failed = n.failed,
        cancelled = n.cancelled, open = n.queued + n.running + n.storing > 0
    FROM (
        SELECT count(*) FILTER (WHERE j.status = 'queued') AS queued, count(*) FILTER (WHERE j.status = 'running') AS running,
               count(*) FILTER (WHERE j.status = 'storing') AS storing, count(*) FILTER (WHERE j.status = 'completed') AS succeeded,
               count(*) FILTER (WHERE j.status = 'failed') AS failed, count(*) FILTER (WHERE j.status = 'cancelled') AS cancelled
        FROM (SELECT status FROM generation_jobs WHERE queue_id = p_queue
              UNION ALL SELECT status FROM generation_jobs_history WHERE queue_id = p_queue) AS j
    ) AS n
    WHERE q.id = p_queue
    RETURNING q.* INTO after;
    RETURN before IS DISTINCT FROM after;
END
$$;

-- How far an item or a batch is, wherever it lies by now. An unknown id is an answer, not an error: pollers are not to break.
CREATE FUNCTION get_job_progress(p_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    answer jsonb;
BEGIN
    SELECT to_jsonb(j) - '{request_data, queue_id, lease_token, worker}'::text[] INTO answer FROM generation_jobs j WHERE j.id = p_id;
    IF answer IS NULL THEN
        SELECT to_jsonb(j) - '{request_data, queue_id, lease_token, worker}'::text[] INTO answer
        FROM generation_jobs_history j WHERE j.id = p_id ORDER BY j.completed_at DESC LIMIT 1;
    END IF;
    IF answer IS NULL AND p_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN
        SELECT jsonb_build_object(
            'batch_id', b.id, 'tenant_id', b.tenant_id, 'status', b.status, 'target_count', b.target_count, 'queued', q.queued,
            'running', q.running, 'storing', q.storing, 'succeeded', q.succeeded, 'failed', q.failed, 'cancelled', q.cancelled,
            'percentage', 100 * (q.succeeded + q.failed + q.cancelled) / b.target_count, 'cost', q.cost_usd,
            'error_message', b.error_message, 'created_at', b.created_at, 'started_at', b.started_at, 'completed_at', b.completed_at)
        INTO answer FROM content_generation_jobs b JOIN generation_queues q ON q.id = b.id WHERE b.id = p_id::uuid;
    END IF;
    RETURN coalesce(answer, jsonb_build_object('error', 'not_found', 'id', p_id, 'message', 'no generation job or batch has this id'));
END
$$;

-- The partition of a day in both histories. A day that already has rows in a default partition stays there.
CREATE FUNCTION prepare_generation_history(p_day date) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    since constant timestamptz := p_day::timestamp AT TIME ZONE 'UTC';
    until constant timestamptz := (p_day + 1)::timestamp AT TIME ZONE 'UTC';
    suffix constant text := to_char(p_day, '_YYYYMMDD');
BEGIN
    IF to_regclass('generation_jobs_history' || suffix) IS NULL
       AND NOT EXISTS (SELECT FROM generation_jobs_history_default WHERE completed_at >= since AND completed_at < until) THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF generation_jobs_history FOR VALUES FROM (%L) TO (%L)',
                       'generation_jobs_history' || suffix, since, until);
    END IF;
    IF to_regclass('generation_attempts_history' || suffix) IS NULL
       AND NOT EXISTS (SELECT FROM generation_attempts_history_default WHERE job_completed_at >= since AND job_completed_at < until) THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF generation_attempts_history FOR VALUES FROM (%L) TO (%L)',
                       'generation_attempts_history' || suffix, since, until);
    END IF;
END
$$;

-- Items that ended more than a day ago, with their attempts, from books that are closed: at most p_most a call, so that a
-- transaction stays short. Then days that are older than the history is kept, whole.
CREATE FUNCTION cleanup_old_generation_jobs(
    p_history_days integer DEFAULT 90, p_most integer DEFAULT 5000,
    OUT moved_jobs integer, OUT moved_attempts integer, OUT dropped_partitions integer)
LANGUAGE plpgsql
AS $$
DECLARE
    moment constant timestamptz := clock_timestamp();
    oldest constant date := (moment AT TIME ZONE 'UTC')::date - p_history_days;
    ids text[];
    ends timestamptz[];
    day date;
    old text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('content_orchestration:generation_history', 0));
    SELECT array_agg(e.id), array_agg(e.completed_at) INTO ids, ends
    FROM (SELECT j.id, j.completed_at FROM generation_jobs j JOIN generation_queues q ON q.id = j.queue_id
          WHERE j.completed_at < moment - interval '24 hours' AND (q.settled_at IS NOT NULL OR q.batch_id IS NULL)
          ORDER BY j.completed_at LIMIT p_most FOR UPDATE OF j SKIP LOCKED) AS e;
    FOR day IN SELECT DISTINCT (e AT TIME ZONE 'UTC')::date FROM unnest(ends) AS e LOOP
        PERFORM prepare_generation_history(day);
    END LOOP;
    WITH gone AS (
        DELETE FROM generation_jobs WHERE id = ANY (ids) RETURNING *
    )
    INSERT INTO generation_jobs_history SELECT * FROM gone;
    GET DIAGNOSTICS moved_jobs = ROW_COUNT;
    WITH gone AS (
        DELETE FROM generation_attempts a USING unnest(ids, ends) AS e (id, completed_at) WHERE a.job_id = e.id
        RETURNING a.*, e.completed_at
    )
    INSERT INTO generation_attempts_history SELECT * FROM gone;
    GET DIAGNOSTICS moved_attempts = ROW_COUNT;
    dropped_partitions := 0;
    FOR old IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('generation_jobs_history'::regclass, 'generation_attempts_history'::regclass)
          AND c.relname ~ '_[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', old);
        dropped_partitions := dropped_partitions + 1;
    END LOOP;
    DELETE FROM generation_jobs_history_default WHERE completed_at < oldest::timestamp AT TIME ZONE 'UTC';
    DELETE FROM generation_attempts_history_default WHERE job_completed_at < oldest::timestamp AT TIME ZONE 'UTC';
END
$$;

CREATE VIEW active_generation_jobs AS
    SELECT id, batch_id, tenant_id, topic_id, article_id, status, phase, percentage, current_step, estimated_time_remaining, attempts,
           max_attempts, error_category, error_message, priority, run_after, lease_expires_at, worker, created_at, started_at, updated_at
    FROM generation_jobs
    WHERE status IN ('queued', 'running', 'storing');

CREATE VIEW generation_job_stats AS
    SELECT tenant_id, status, count(*) AS jobs, sum(cost) AS cost_usd, round(avg(attempts), 2) AS avg_attempts,
           round(avg(word_count)) AS avg_word_count, round(avg(seo_score)) AS avg_seo_score,
           round(extract(epoch FROM avg(completed_at - started_at)), 3) AS avg_seconds, min(created_at) AS oldest_created_at
    FROM generation_jobs
    GROUP BY tenant_id, status;

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY[
        'generation_lanes', 'generation_queues', 'generation_jobs', 'generation_attempts', 'generation_budgets',
        'generation_jobs_history', 'generation_attempts_history'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly '
                       'USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid) '
                       'WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', walled);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO content_worker', walled);
    END LOOP;
END
$$;
GRANT SELECT ON generation_queues, generation_jobs, generation_attempts, generation_budgets, generation_jobs_history,
    generation_attempts_history TO content_app, content_readonly;

-- Before PostgreSQL 15 a view reads with its owner's rights and would show all tenants: there it is the jobs' alone.
DO $$
DECLARE
    view text;
BEGIN
    FOREACH view IN ARRAY ARRAY['active_generation_jobs', 'generation_job_stats'] LOOP
        EXECUTE format('GRANT SELECT ON %I TO content_worker', view);
        IF current_setting('server_version_num')::integer >= 150000 THEN
            EXECUTE format('ALTER VIEW %I SET (security_invoker = true)', view);
            EXECUTE format('GRANT SELECT ON %I TO content_app, content_readonly', view);
        END IF;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION generation_take(uuid, integer, text, interval), generation_claim(integer, text, interval, uuid),
    generation_lock(text[]), generation_complete(text[], bigint[], uuid[], integer[], integer[], text[], bigint[]),
    generation_fail(text, bigint, text, text, boolean, interval, interval, interval), generation_release(text, bigint),
    generation_hold(text, bigint, text),
    generation_reap(integer), generation_cancel(uuid, uuid, text),
    generation_end_attempt(uuid, text, bigint, bigint, numeric, text), generation_finish(uuid), generation_recount(uuid),
    get_job_progress(text), prepare_generation_history(date), cleanup_old_generation_jobs(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION generation_take(uuid, integer, text, interval), generation_claim(integer, text, interval, uuid),
    generation_lock(text[]), generation_complete(text[], bigint[], uuid[], integer[], integer[], text[], bigint[]),
    generation_fail(text, bigint, text, text, boolean, interval, interval, interval), generation_release(text, bigint),
    generation_hold(text, bigint, text),
    generation_reap(integer), generation_cancel(uuid, uuid, text),
    generation_end_attempt(uuid, text, bigint, bigint, numeric, text), generation_finish(uuid), generation_recount(uuid),
    get_job_progress(text), prepare_generation_history(date), cleanup_old_generation_jobs(integer, integer) TO content_worker;
GRANT EXECUTE ON FUNCTION get_job_progress(text) TO content_app, content_readonly;
