-- Maintenance never waits behind a long reader: it is tried again with the next sync.
SELECT set_config('lock_timeout', '500ms', true)
