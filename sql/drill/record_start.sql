-- A drill is written down before it begins: one that is killed shows as never finished.
INSERT INTO restore_drills (scenario, run_id, detail) VALUES (%(scenario)s, %(run_id)s, %(detail)s::jsonb) RETURNING drill_id
