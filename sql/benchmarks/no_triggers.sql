-- A table that was there before replication: nothing of it is in the change log.
SET LOCAL session_replication_role = replica
