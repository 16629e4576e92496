-- A chunk and what was printed of it are held twice; what does not fit into work_mem goes through temporary files.
SELECT set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')), 32 * 1024 * 1024) / 1024 || 'kB', true)
