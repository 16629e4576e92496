-- Limits as the platform's plan says: revision 0006 has the function.
SELECT * FROM quota_apply_plan(%(tenant_id)s, %(plans)s::jsonb)
