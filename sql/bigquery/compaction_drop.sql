-- Removes the list of a compaction that has ended.
DROP TABLE IF EXISTS `{table}`
