-- An action, before it is done.
INSERT INTO integrity_repairs (report_id, position, run_id, kind, table_name, entity_id, tenant_id, action)
VALUES (%(report_id)s, %(position)s, %(run_id)s, %(kind)s, %(table)s, %(entity_id)s, %(tenant_id)s, %(action)s)
RETURNING repair_id
