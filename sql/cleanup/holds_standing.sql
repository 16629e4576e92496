-- Tenants under a hold, and whether this role sees those of all tenants: with row-level security none would look like none.
SELECT coalesce(array_agg(DISTINCT tenant_id), '{}') AS tenants, pg_has_role(current_user, 'content_worker', 'USAGE') AS sees_all
FROM legal_holds WHERE released_at IS NULL
