-- The first sync: everything that the change log holds is new.
INSERT INTO replication_cursor (system_identifier, next_xid, last_sync_id) VALUES (%(system_identifier)s, '0', 0)
ON CONFLICT (singleton) DO NOTHING
