-- The snapshot that every reader of this backfill shares.
SELECT pg_export_snapshot() AS snapshot
