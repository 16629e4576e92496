-- Tenants with expired reservations, from the partial index; the reaper takes them one transaction each.
SELECT DISTINCT tenant_id FROM quota_reservations
WHERE state = 'reserved' AND expires_at <= clock_timestamp() AND (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
