-- A writer that waits longer than this for an item gives up: whoever holds it is stuck, not slow.
SELECT set_config('lock_timeout', %(timeout)s, true)
