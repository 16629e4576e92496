-- Written down for the next pass, with the time by the database.
INSERT INTO cleanup_memory (name, at, counted, position, finished)
VALUES (%(name)s, clock_timestamp(), %(counted)s, %(position)s, %(finished)s)
ON CONFLICT (name) DO UPDATE SET at = excluded.at, counted = excluded.counted, position = excluded.position, finished = excluded.finished
