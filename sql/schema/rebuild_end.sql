-- Everything that was there already, and the triggers and foreign keys that still lead into the rebuild.
DROP SCHEMA content_rebuild CASCADE
