-- A table of the same shape, with defaults, checks and indexes. Triggers do not come along, so nothing is replicated.
CREATE TABLE IF NOT EXISTS {target} (LIKE {live} INCLUDING ALL)
