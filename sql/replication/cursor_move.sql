-- Moves the cursor in the transaction that closes the window, and only from where the window began. A snapshot may have
-- taken a later sync id meanwhile.
UPDATE replication_cursor
SET next_xid = %(high)s::xid8, last_sync_id = greatest(last_sync_id, %(sync_id)s), updated_at = clock_timestamp()
WHERE next_xid = %(low)s::xid8 AND system_identifier = %(system_identifier)s
