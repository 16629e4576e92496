-- Written before the dump begins: what a kill leaves behind is known by its row.
INSERT INTO database_backups (key, location, run_id) VALUES (%(key)s, %(location)s, %(run_id)s)
RETURNING backup_id::text AS backup_id
