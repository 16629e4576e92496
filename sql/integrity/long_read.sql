-- A long read on all of PostgreSQL's cores: an hour for the statement, and rows handed between processes are not dear.
SELECT set_config('statement_timeout', '1h', true), set_config('jit', 'off', true),
       set_config('parallel_tuple_cost', '0', true), set_config('parallel_setup_cost', '0', true),
       set_config('max_parallel_workers_per_gather', greatest(current_setting('max_parallel_workers_per_gather')::int, 4)::text, true)
