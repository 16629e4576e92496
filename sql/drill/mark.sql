-- The mark of a drill's database. It names the database, so that a copy of it does not mark another one.
CREATE TABLE drill_marker AS
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid, clock_timestamp() AS made_at
