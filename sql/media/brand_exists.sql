-- Whether a brand is one of this tenant's.
SELECT EXISTS (SELECT FROM brands WHERE id = %(brand_id)s AND tenant_id = %(tenant_id)s) AS found
