-- A batch may wait or work for longer than its reservation would live. Of the named batches, or of all that are open.
UPDATE quota_reservations r SET expires_at = clock_timestamp() + %(ttl)s::interval
FROM generation_queues q
WHERE r.id = q.reservation_id AND r.state = 'reserved' AND r.expires_at < clock_timestamp() + %(ttl)s::interval / 2
  AND q.batch_id IS NOT NULL AND q.settled_at IS NULL AND (%(batches)s::uuid[] IS NULL OR q.id = ANY (%(batches)s::uuid[]))
