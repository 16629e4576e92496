-- Removes the state of a finished restore; one that was cut off expires by itself.
DROP TABLE IF EXISTS `{table}`
