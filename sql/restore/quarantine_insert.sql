-- What was not written, with what it was. A part that is done again finds it noted.
INSERT INTO restore_quarantine (
    restore_id, entity, entity_id, tenant_id, sync_id, reason, detail, expected_sha256, found_sha256, payload
) VALUES (
    %(restore_id)s, %(entity)s, %(entity_id)s, %(tenant_id)s, %(sync_id)s, %(reason)s, %(detail)s, %(expected_sha256)s,
    %(found_sha256)s, %(payload)s
)
ON CONFLICT (restore_id, entity, entity_id, reason) DO NOTHING
