-- Everything of this tenant landed.
UPDATE replication_backfills
SET status = 'closed', closed_at = clock_timestamp(), rows_by_table = %(rows_by_table)s::jsonb, bytes_loaded = %(bytes_loaded)s,
    tombstones = %(tombstones)s
WHERE sync_id = %(sync_id)s AND tenant_id = %(tenant_id)s AND status = 'open'
