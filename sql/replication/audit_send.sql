-- Entries of the cleanup audit into the change log once more; the next window carries them.
INSERT INTO content_changes (entity, entity_id, tenant_id, op)
SELECT 'cleanup_audit', r.id, r.tenant_id, 'I'
FROM cleanup_audit r
WHERE r.id = ANY (%(ids)s::uuid[])
