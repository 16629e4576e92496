-- A column that is new, where it is missing; rows that are there have no value for it.
ALTER TABLE `{table}` ADD COLUMN IF NOT EXISTS {column}
