-- Good is one row with open_windows 0, cluster_matches t, and an oldest_waiting below 00:15:00 or empty.
SELECT (SELECT count(*) FROM replication_windows WHERE status = 'open') AS open_windows,
       (SELECT max(closed_at) FROM replication_windows WHERE status = 'closed') AS last_closed,
       (SELECT bool_and(c.system_identifier = s.system_identifier::text)
        FROM replication_cursor c, pg_control_system() s) AS cluster_matches,
       count(c.change_id) AS waiting_changes,
       clock_timestamp() - min(c.changed_at) AS oldest_waiting
FROM content_changes c
WHERE c.entity <> 'heartbeat' AND c.change_xid >= coalesce((SELECT next_xid FROM replication_cursor), '0'::xid8)
