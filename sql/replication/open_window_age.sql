-- How long a window has been open, in seconds; no row where none is.
SELECT sync_id, extract(epoch FROM clock_timestamp() - opened_at)::float8 AS seconds FROM replication_windows WHERE status = 'open'
