-- The role and the tenant of what follows, until the transaction ends: row-level security goes by both.
SELECT set_config('role', 'content_app', true), set_config('app.tenant_id', %(tenant_id)s, true)
