-- Since when no sync has closed, and since when there are syncs.
SELECT (SELECT extract(epoch FROM clock_timestamp() - max(closed_at))::float8 FROM replication_windows WHERE status = 'closed')
           AS since_closed,
       (SELECT extract(epoch FROM clock_timestamp() - opened_at)::float8 FROM replication_windows ORDER BY sync_id LIMIT 1)
           AS age_seconds
