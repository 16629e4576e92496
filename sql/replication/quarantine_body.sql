-- A body that was not copied, and why.
INSERT INTO replication_quarantine (zerodb_row_id, sync_id, entity, tenant_id, reason, expected_sha256, found_sha256)
VALUES (%(zerodb_row_id)s, %(sync_id)s, %(entity)s, %(tenant_id)s, %(reason)s, %(expected)s, %(found)s)
ON CONFLICT (zerodb_row_id, entity, sync_id) DO NOTHING
