-- Which database of which cluster this is, whatever name led here.
SELECT c.system_identifier::text AS system_identifier, d.oid::bigint AS database_oid
FROM pg_control_system() c, pg_database d
WHERE d.datname = current_database()
