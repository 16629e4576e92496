-- A claim touches no index: it keeps what is open in one, in its order, and which of that is held is read from the rows.
-- At the head of a queue lie at most ten items that run and a hundred that wait to be stored, so a claim passes over few.
DROP INDEX generation_jobs_queued, generation_jobs_held;
CREATE INDEX generation_jobs_open ON generation_jobs (queue_id, priority DESC, run_after, id) WHERE completed_at IS NULL;

-- Up to p_most items of one queue, under its row lock. None while fifty wait to be stored: texts must not pile up.
-- Statistics lag behind a queue that fills and empties, so the way to the rows is not left to them. The token grows by a
-- random step: a claim that a crash of the server took back is never mistaken for the one that follows it.
CREATE OR REPLACE FUNCTION generation_take(p_queue uuid, p_most integer, p_worker text, p_lease interval)
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
        status = 'running', attempts = j.attempts + 1, lease_token = j.lease_token + 1 + floor(random() * 2147483648)::bigint,
        lease_expires_at = moment + p_lease, worker = p_worker, started_at = coalesce(j.started_at, moment), updated_at = moment
    FROM (SELECT w.id FROM generation_jobs w
          WHERE w.queue_id = p_queue AND w.completed_at IS NULL AND w.status = 'queued' AND w.run_after <= moment
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
-- The commit does not wait for the disk: a claim that is lost was never made, and a provider's call is written down,
-- synchronously, before it is made.
CREATE OR REPLACE FUNCTION generation_claim(p_most integer, p_worker text, p_lease interval, p_queue uuid) RETURNS SETOF generation_jobs
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
    PERFORM set_config('synchronous_commit', 'off', true);
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
            CONTINUE WHEN NOT EXISTS (SELECT FROM generation_jobs w WHERE w.queue_id = candidate AND w.completed_at IS NULL
                                      AND w.status = 'queued' AND w.run_after <= moment);
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
    -- Turns are taken among several: where one tenant alone is open, nothing is written.
    IF served <> '{}' AND EXISTS (SELECT FROM generation_lanes o WHERE o.open AND o.tenant_id <> ALL (served)) THEN
        -- A lane that somebody else is serving at this moment has had its turn anyway.
        UPDATE generation_lanes l SET served_at = clock_timestamp()
        FROM (SELECT w.tenant_id FROM generation_lanes w WHERE w.tenant_id = ANY (served) FOR UPDATE SKIP LOCKED) AS free
        WHERE l.tenant_id = free.tenant_id;
    END IF;
    IF idle = '{}' THEN
        RETURN;
    END IF;
    -- Whoever submits takes the lane before the batch can be seen, so the second look, behind the lock, is the true one.
    FOR lane IN SELECT w.tenant_id FROM generation_lanes w WHERE w.tenant_id = ANY (idle) FOR UPDATE SKIP LOCKED LOOP
        UPDATE generation_lanes l SET open = false
        WHERE l.tenant_id = lane AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.tenant_id = lane AND q.open);
    END LOOP;
END
$$;

-- The ids that were accepted: those whose token is still the item's. Under the lock of its queue no item changes its status,
-- so the one that is read beside the update is the one that it had.
CREATE OR REPLACE FUNCTION generation_complete(
    p_ids text[], p_tokens bigint[], p_contents uuid[], p_words integer[], p_scores integer[], p_providers text[], p_bytes bigint[])
RETURNS SETOF text
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM FROM generation_queues q
    WHERE q.id IN (SELECT w.queue_id FROM generation_jobs w WHERE w.id = ANY (p_ids)) ORDER BY q.id FOR UPDATE;
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

-- Items whose worker fell silent, queue by queue; what somebody else holds at this moment is left to the next look. The
-- queue's counters say how many are held, and they lie at its head: the search ends there.
CREATE OR REPLACE FUNCTION generation_reap(p_most integer, OUT retried integer, OUT failed integer)
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
    most integer;
BEGIN
    retried := 0;
    failed := 0;
    FOR silent IN
        SELECT q.id FROM generation_queues q
        WHERE q.open AND q.running + q.storing > 0 AND EXISTS (
            SELECT FROM (SELECT j.lease_expires_at FROM generation_jobs j
                         WHERE j.queue_id = q.id AND j.completed_at IS NULL AND j.status IN ('running', 'storing')
                         ORDER BY j.priority DESC, j.run_after, j.id LIMIT q.running + q.storing) AS held
            WHERE held.lease_expires_at <= clock_timestamp())
        LIMIT p_most
    LOOP
        SELECT q.running + q.storing INTO most FROM generation_queues q WHERE q.id = silent FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        WITH held AS (
            SELECT j.id FROM generation_jobs j
            WHERE j.queue_id = silent AND j.completed_at IS NULL AND j.status IN ('running', 'storing')
            ORDER BY j.priority DESC, j.run_after, j.id LIMIT most
        ), expired AS (
            SELECT j.id, j.status FROM generation_jobs j
            WHERE j.id IN (SELECT h.id FROM held h) AND j.lease_expires_at <= clock_timestamp()
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
CREATE OR REPLACE FUNCTION generation_cancel(p_tenant uuid, p_queue uuid, p_item text) RETURNS integer
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
        WHERE j.queue_id = p_queue AND j.completed_at IS NULL AND j.status IN ('queued', 'running', 'storing') AND (p_item IS NULL OR j.id = p_item)
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

CREATE OR REPLACE VIEW active_generation_jobs AS
    SELECT id, batch_id, tenant_id, topic_id, article_id, status, phase, percentage, current_step, estimated_time_remaining, attempts,
           max_attempts, error_category, error_message, priority, run_after, lease_expires_at, worker, created_at, started_at, updated_at
    FROM generation_jobs
    WHERE completed_at IS NULL AND status IN ('queued', 'running', 'storing');

-- CREATE OR REPLACE VIEW forgets a view's options: without this one it would read with its owner's rights.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW active_generation_jobs SET (security_invoker = true);
    END IF;
END
$$;
