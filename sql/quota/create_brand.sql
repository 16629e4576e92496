-- The counter of a brand that had none, with the default limit, as the snapshot saw its rows.
INSERT INTO storage_quotas (brand_id, tenant_id, used_bytes, reserved_bytes)
VALUES (%(brand_id)s, %(tenant_id)s, %(used_bytes)s, %(reserved_bytes)s)
ON CONFLICT (brand_id) DO NOTHING
RETURNING brand_id
