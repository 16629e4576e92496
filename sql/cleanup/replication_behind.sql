-- Seconds since the oldest change that BigQuery does not have; NULL where nothing waits or nothing was ever replicated.
SELECT extract(epoch FROM clock_timestamp() - c.changed_at)::float8 AS seconds
FROM replication_cursor r
JOIN LATERAL (SELECT changed_at FROM content_changes
              WHERE change_xid >= r.next_xid AND entity <> 'heartbeat' ORDER BY change_xid LIMIT 1) AS c ON true
