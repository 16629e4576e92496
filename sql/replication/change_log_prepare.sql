-- Partitions of the change log for the days to come.
SELECT prepare_change_log(7) AS created
