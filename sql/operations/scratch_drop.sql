-- Drops a scratch database with whoever is still connected to it.
DROP DATABASE IF EXISTS {name} WITH (FORCE)
