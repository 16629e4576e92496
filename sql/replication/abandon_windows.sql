-- A window of the old cluster can never be finished: its transaction ids mean nothing here.
UPDATE replication_windows SET status = 'abandoned', closed_at = clock_timestamp() WHERE status = 'open'
