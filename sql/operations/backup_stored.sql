-- The object is whole in its store.
UPDATE database_backups
SET state = 'stored', size_bytes = %(size_bytes)s, sha256 = %(sha256)s, contents = %(contents)s::jsonb, failure = NULL,
    server_version = %(server_version)s, dump_seconds = %(dump_seconds)s, stored_at = coalesce(stored_at, clock_timestamp())
WHERE backup_id = %(backup_id)s
