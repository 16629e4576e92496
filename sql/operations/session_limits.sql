-- A step of maintenance waits this long for a lock and takes this long at most; it ends when its client is gone.
SELECT set_config('lock_timeout', %(lock)s, false), set_config('statement_timeout', %(statement)s, false),
       set_config('client_connection_check_interval', '2s', false)
