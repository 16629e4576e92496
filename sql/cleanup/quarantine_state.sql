-- What waits in quarantine, and for how long.
SELECT count(*) AS waiting, extract(epoch FROM clock_timestamp() - min(quarantined_at))::float8 AS oldest_seconds
FROM cleanup_quarantine WHERE kind = %(kind)s AND state IN ('moving', 'quarantined', 'restoring', 'deleting')
