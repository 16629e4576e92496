-- The last listing, finished or not.
SELECT look_id, finished_at, objects FROM stray_looks ORDER BY look_id DESC LIMIT 1
