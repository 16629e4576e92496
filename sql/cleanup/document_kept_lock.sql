-- A document in quarantine as it was read, locked; one that changed since is somebody else's.
SELECT quarantine_id FROM cleanup_quarantine WHERE quarantine_id = %(quarantine_id)s AND state = %(state)s FOR UPDATE SKIP LOCKED
