-- Nothing is queued any more.
TRUNCATE generation_jobs, generation_queues, generation_lanes, content_generation_jobs
