-- A listing of all stores, before it begins.
INSERT INTO stray_looks (run_id) VALUES (%(run_id)s) RETURNING look_id, started_at
