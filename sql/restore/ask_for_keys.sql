-- A mark in the change log at which the next window compares the keys of both sides.
INSERT INTO content_changes (entity, op) VALUES (%(entity)s, 'T')
