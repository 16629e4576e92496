-- What the tenant and the brand of a notice are called.
SELECT coalesce((SELECT t.name FROM tenants t WHERE t.id = %(tenant_id)s), %(tenant_id)s::text) AS tenant,
       (SELECT b.name FROM brands b WHERE b.id = %(brand_id)s) AS brand
