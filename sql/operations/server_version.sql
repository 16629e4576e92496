-- The version as a number, 180004, and as people write it.
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text
