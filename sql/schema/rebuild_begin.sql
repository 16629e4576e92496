-- A schema for this transaction alone, in which the revisions run once more. What is missing is moved out of it.
CREATE SCHEMA content_rebuild
