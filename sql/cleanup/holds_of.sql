-- Every hold of a tenant, ended ones too, the newest first.
SELECT hold_id, tenant_id, reason, placed_by, placed_at, released_by, release_reason, released_at
FROM legal_holds WHERE tenant_id = %(tenant_id)s ORDER BY placed_at DESC, hold_id
