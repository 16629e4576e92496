-- One backup by its id, as text, so that what is no id finds nothing.
SELECT backup_id::text AS backup_id, key, location, state, started_at, size_bytes, sha256, contents, server_version, dump_seconds, verified_at
FROM database_backups WHERE backup_id::text = %(backup_id)s
