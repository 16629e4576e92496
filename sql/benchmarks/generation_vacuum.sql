-- What autovacuum does within a minute of such a load.
VACUUM (ANALYZE) generation_jobs, generation_queues, generation_lanes
