-- The counter of a month that had none, as the snapshot saw its reservations.
INSERT INTO quota_generation_usage (tenant_id, month, limit_items, used_items, reserved_items)
VALUES (%(tenant_id)s, %(month)s, %(limit_items)s, %(used_items)s, %(reserved_items)s)
ON CONFLICT (tenant_id, month) DO NOTHING
RETURNING tenant_id
