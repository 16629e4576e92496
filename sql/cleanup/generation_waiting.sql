-- Generation jobs that ended more than 24 hours ago in a closed batch: they wait to be moved into the history.
SELECT count(*) AS jobs FROM generation_jobs j JOIN generation_queues q ON q.id = j.queue_id
WHERE j.completed_at < clock_timestamp() - interval '24 hours' AND (q.settled_at IS NOT NULL OR q.batch_id IS NULL)
