-- Whether the mark is of this very database and not of the one that it was copied from.
SELECT coalesce(bool_and(m.system_identifier = c.system_identifier::text AND m.database_oid = d.oid::bigint), false) AS genuine
FROM drill_marker m, pg_control_system() c, pg_database d
WHERE d.datname = current_database()
