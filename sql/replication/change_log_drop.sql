-- Whole days of the change log that every window has passed.
SELECT drop_replicated_changes(least(c.next_xid, w.low_xid)) AS dropped
FROM replication_cursor c LEFT JOIN replication_windows w ON w.status = 'open'
