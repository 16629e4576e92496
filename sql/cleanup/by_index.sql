-- Whatever the statistics say: each render is looked up by index, since reading a whole table once is what must not happen.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_material', 'off', true)
