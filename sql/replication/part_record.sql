-- A load file, before its load, by the attempt that holds the window: nothing is recorded for one that was taken over.
-- A file that never landed is written anew by the next attempt, perhaps with other rows.
INSERT INTO replication_parts (sync_id, table_name, part, last_id, rows, tombstones, bytes, job_id)
SELECT sync_id, %(table)s, %(part)s, %(last_id)s, %(rows)s, %(tombstones)s, %(bytes)s, %(job_id)s
FROM replication_windows WHERE sync_id = %(sync_id)s AND status = 'open' AND attempts = %(attempts)s
ON CONFLICT (sync_id, table_name, part) DO UPDATE
SET last_id = excluded.last_id, rows = excluded.rows, tombstones = excluded.tombstones, bytes = excluded.bytes,
    job_id = excluded.job_id
WHERE replication_parts.loaded_at IS NULL
