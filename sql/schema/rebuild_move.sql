-- With the table go its indexes and the sequences that it owns.
ALTER TABLE content_rebuild.{name} SET SCHEMA public
