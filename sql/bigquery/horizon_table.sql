-- Whether the dataset says how far back it was compacted; where nothing ever was, there is no such table.
SELECT COUNT(*) AS present FROM `{table}` WHERE table_name = @name
