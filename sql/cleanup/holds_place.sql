-- A hold that stands from this moment on.
INSERT INTO legal_holds (tenant_id, reason, placed_by) VALUES (%(tenant_id)s, %(reason)s, %(placed_by)s)
RETURNING hold_id, tenant_id, reason, placed_by, placed_at
