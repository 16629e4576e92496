-- What an earlier pass wrote down for this one.
SELECT at, counted, position, finished FROM cleanup_memory WHERE name = %(name)s
