-- SKIP LOCKED may wait: where a row changes between the statement's snapshot and its lock, PostgreSQL locks the newer version
-- behind its holder. A claim that waited so with one queue in hand met a completion that had the other: a deadlock, once in
-- 150,000 claims. So whoever takes more than one queue takes them in the order of their ids, as completions do.
--
-- Items for one worker: of one queue, or fairly of all. Tenants in turn, the one that was served longest ago first; within
-- a tenant by the batch's priority, then its age; within a batch by the item's. First the queues are chosen that have places
-- enough together, then they are locked, then items are taken in the order of turns. Whatever somebody else has locked is passed
-- over; where more is wanted then, the search goes on as far as the order of locks lets it, and the next claim takes the rest.
-- None may mean that others were quicker everywhere at this moment, so whoever gets none asks once more.
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
    places integer;
    candidates integer;
    left_over integer := p_most;
    room integer;
    taken integer;
    chosen uuid[];
    owners uuid[];
    locked uuid[];
    tried uuid[] := '{}';
    highest uuid;
    passed uuid;
    served uuid[] := '{}';
    idle uuid[] := '{}';
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF p_queue IS NOT NULL THEN
        RETURN QUERY SELECT * FROM generation_take(p_queue, p_most, p_worker, p_lease);
        RETURN;
    END IF;
    LOOP
        chosen := '{}';
        owners := '{}';
        locked := NULL;
        room := 0;
        <<choosing>>
        FOR lane IN SELECT l.tenant_id FROM generation_lanes l WHERE l.open ORDER BY l.served_at LOOP
            candidates := 0;
            FOR candidate IN
                SELECT q.id FROM generation_queues q
                WHERE q.tenant_id = lane AND q.open AND q.queued > 0 AND q.running < 10 AND q.storing < 50
                ORDER BY q.priority DESC, q.created_at
            LOOP
                candidates := candidates + 1;
                CONTINUE WHEN candidate = ANY (tried);
                -- As it is now: others may have taken what the search saw. Where all wait for a retry there is nothing to lock it for.
                SELECT least(10 - q.running, q.queued) INTO places FROM generation_queues q
                WHERE q.id = candidate AND q.open AND q.queued > 0 AND q.running < 10 AND q.storing < 50
                  AND EXISTS (SELECT FROM generation_jobs w WHERE w.queue_id = candidate AND w.completed_at IS NULL
                              AND w.status = 'queued' AND w.run_after <= moment);
                CONTINUE WHEN NOT FOUND;
                IF candidate < highest THEN
                    -- Never past the one whose turn it is, unless there is nothing yet to come back with.
                    EXIT choosing WHEN left_over < p_most;
                    CONTINUE;
                END IF;
                IF highest IS NULL AND room = 0 AND places >= left_over THEN
                    -- One is enough, and with no lock in hand it is safe to wait for one.
                    PERFORM FROM generation_queues q WHERE q.id = candidate FOR UPDATE SKIP LOCKED;
                    IF NOT FOUND THEN
                        passed := coalesce(passed, candidate);
                        tried := tried || candidate;
                        CONTINUE;
                    END IF;
                    locked := ARRAY[candidate];
                END IF;
                chosen := chosen || candidate;
                owners := owners || lane;
                room := room + places;
                EXIT choosing WHEN room >= left_over;
            END LOOP;
            IF candidates = 0 AND tried = '{}'
                AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.tenant_id = lane AND q.open)
            THEN
                idle := idle || lane;
            END IF;
        END LOOP;
        EXIT WHEN chosen = '{}';
        IF locked IS NULL THEN
            SELECT coalesce(array_agg(f.id), '{}') INTO locked FROM (
                SELECT q.id FROM generation_queues q WHERE q.id = ANY (chosen) ORDER BY q.id FOR UPDATE SKIP LOCKED) AS f;
        END IF;
        FOR number IN 1 .. cardinality(chosen) LOOP
            IF chosen[number] <> ALL (locked) THEN
                passed := coalesce(passed, chosen[number]);
                CONTINUE;
            END IF;
            highest := greatest(highest, chosen[number]);
            CONTINUE WHEN left_over = 0;
            RETURN QUERY SELECT * FROM generation_take(chosen[number], left_over, p_worker, p_lease);
            GET DIAGNOSTICS taken = ROW_COUNT;
            left_over := left_over - taken;
            IF taken > 0 AND owners[number] <> ALL (served) THEN
                served := served || owners[number];
            END IF;
        END LOOP;
        EXIT WHEN left_over = 0;
        tried := tried || chosen;
    END LOOP;
    IF passed IS NOT NULL AND highest IS NULL THEN
        -- Everything was locked by others: with no lock in hand it is safe to wait for one.
        RETURN QUERY SELECT * FROM generation_take(passed, p_most, p_worker, p_lease);
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken > 0 THEN
            SELECT q.tenant_id INTO lane FROM generation_queues q WHERE q.id = passed;
            served := served || lane;
        END IF;
    END IF;
    -- Turns are taken among several: where one tenant alone is open, nothing is written.
    IF served <> '{}' AND NOT EXISTS (SELECT FROM generation_lanes o WHERE o.open AND o.tenant_id <> ALL (served)) THEN
        served := '{}';
    END IF;
    IF served = '{}' AND idle = '{}' THEN
        RETURN;
    END IF;
    -- Lanes come behind queues, and among themselves in order too. One that somebody else is serving at this moment has had its
    -- turn anyway.
    SELECT coalesce(array_agg(f.tenant_id), '{}') INTO locked FROM (
        SELECT w.tenant_id FROM generation_lanes w WHERE w.tenant_id = ANY (served || idle)
        ORDER BY w.tenant_id FOR UPDATE SKIP LOCKED) AS f;
    UPDATE generation_lanes l SET served_at = clock_timestamp() WHERE l.tenant_id = ANY (served) AND l.tenant_id = ANY (locked);
    -- Whoever submits takes the lane before the batch can be seen, so the second look, behind the lock, is the true one.
    UPDATE generation_lanes l SET open = false
    WHERE l.tenant_id = ANY (idle) AND l.tenant_id = ANY (locked)
      AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.tenant_id = l.tenant_id AND q.open);
END
$$;

-- Items whose worker fell silent, queue by queue in the order of ids; what somebody else holds at this moment is left to the next
-- look. The queue's counters say how many are held, and they lie at its head: the search ends there.
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
        ORDER BY q.id LIMIT p_most
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
