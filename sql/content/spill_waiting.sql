-- Whether bodies of the tenant wait for ZeroDB, where no search looks at them.
SELECT EXISTS (SELECT FROM content_body_spill WHERE tenant_id = %(tenant_id)s) AS waiting
