-- Against the lock that a save takes: what is being saved at this moment is left out, what is locked here makes a save wait.
SELECT id FROM render_jobs WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED
