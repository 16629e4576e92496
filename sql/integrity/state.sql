-- Where replication is: the cursor, its cluster and this one, and the last closed sync. xid8 travels as text.
SELECT r.next_xid::text AS next_xid, r.system_identifier, s.system_identifier::text AS cluster,
       (SELECT max(sync_id) FROM replication_windows WHERE status = 'closed') AS sync_id
FROM replication_cursor r, pg_control_system() s
