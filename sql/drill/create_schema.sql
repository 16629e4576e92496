-- The empty schema in which the next world is built.
CREATE SCHEMA public
