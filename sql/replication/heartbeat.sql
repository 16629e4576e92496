-- A change that every sync makes, so that what arrives proves the whole path.
UPDATE replication_heartbeat SET beat_at = clock_timestamp()
