-- Month partitions of the history, ahead of time. Months that are over stay.
SELECT prepare_usage_history(2) AS created
