-- The load of this file is known to have landed.
UPDATE replication_parts SET loaded_at = clock_timestamp() WHERE sync_id = %(sync_id)s AND table_name = %(table)s AND part = %(part)s
