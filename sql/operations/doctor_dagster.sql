-- Whether Dagster has made its tables here, its daemons' heartbeats included.
SELECT to_regclass('runs') IS NOT NULL AND to_regclass('event_logs') IS NOT NULL AS made,
       to_regclass('daemon_heartbeats') IS NOT NULL AS beats,
       has_schema_privilege(current_schema(), 'CREATE') AS makes_tables
