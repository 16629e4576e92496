-- For people who looked: the next pass begins without this memory.
DELETE FROM cleanup_memory WHERE name = %(name)s
