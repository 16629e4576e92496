-- The tenants of a drill's world, who belong to the platform and are not what is restored.
INSERT INTO tenants (id, name, slug, plan_tier, created_at)
SELECT id, name, slug, plan_tier, created_at FROM jsonb_populate_recordset(NULL::tenants, %(rows)s::jsonb)
