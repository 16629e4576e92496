-- The rows that a compaction removes, listed once, so that no partition's job reads more than its own partition. It expires.
CREATE TABLE IF NOT EXISTS `{stage}` CLUSTER BY day
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)) AS {doomed}
