-- Batches of which nothing is open but whose books are: their run ended before it closed them.
SELECT id FROM generation_queues WHERE batch_id IS NOT NULL AND settled_at IS NULL AND queued + running + storing = 0 ORDER BY id LIMIT %(most)s
