-- A few of what was set aside.
SELECT entity, entity_id, tenant_id, sync_id, reason, detail FROM restore_quarantine WHERE restore_id = %(restore_id)s
ORDER BY entity, reason, entity_id LIMIT %(most)s
