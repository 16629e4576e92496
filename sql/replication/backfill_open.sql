-- A tenant of a snapshot, before its first load.
INSERT INTO replication_backfills (sync_id, tenant_id, run_id, synced_at)
VALUES (%(sync_id)s, %(tenant_id)s, %(run_id)s, %(synced_at)s)
