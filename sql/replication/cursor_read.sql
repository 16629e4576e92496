-- Where the next window begins. xid8 travels as text: it has no type in Python.
SELECT system_identifier, next_xid::text AS next_xid, last_sync_id FROM replication_cursor
