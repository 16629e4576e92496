-- The load files of a sync, in order.
SELECT table_name, part, last_id, rows, tombstones, bytes, job_id, loaded_at FROM replication_parts
WHERE sync_id = %(sync_id)s ORDER BY table_name, part
