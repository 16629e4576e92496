-- Sizes are not asked of a table that somebody has locked whole for longer than this: the report waits for another time.
SELECT set_config('lock_timeout', '10s', true)
