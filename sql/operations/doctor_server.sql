-- What decides whether this server and this role can carry the project, and what time it is there.
SELECT current_setting('server_version_num')::integer AS version,
       extract(epoch FROM clock_timestamp())::float8 AS clock,
       pg_is_in_recovery() AS replica,
       current_setting('default_transaction_read_only')::boolean AS read_only,
       current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean AS durable,
       getdatabaseencoding() AS encoding,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS connections,
       current_user AS role,
       r.rolsuper OR r.rolcreaterole AS makes_roles,
       has_schema_privilege('public', 'CREATE') AS makes_tables
FROM pg_roles r WHERE r.rolname = current_user
