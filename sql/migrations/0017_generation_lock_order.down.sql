-- Back to locks in the order of turns.
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
