-- One thing that happened to files in a place; only for live rows of the tenant.
INSERT INTO media_usage_logs (tenant_id, asset_id, used_in, action, actor)
SELECT m.tenant_id, m.id, %(used_in)s, %(action)s, %(actor)s
FROM media_assets m WHERE m.tenant_id = %(tenant_id)s AND m.id = ANY (%(ids)s) AND m.deleted_at IS NULL
RETURNING asset_id
