-- Rows of the older shape into a batch of their own: they keep their ids, their attempts and their costs.
WITH moved AS (
    UPDATE generation_jobs SET batch_id = %(batch_id)s, queue_id = %(batch_id)s, updated_at = clock_timestamp()
    WHERE id = ANY (%(ids)s) AND queue_id = %(tenant_id)s AND status = 'queued' RETURNING 1
)
UPDATE generation_queues q SET
    queued = q.queued - (SELECT count(*) FROM moved),
    open = q.queued - (SELECT count(*) FROM moved) + q.running + q.storing > 0
WHERE q.id = %(tenant_id)s
RETURNING (SELECT count(*) FROM moved) AS items
