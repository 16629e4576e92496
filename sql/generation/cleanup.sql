-- One step of retention: revision 0008 has the function.
SELECT moved_jobs, moved_attempts, dropped_partitions FROM cleanup_old_generation_jobs(%(history_days)s::integer, %(most)s::integer)
