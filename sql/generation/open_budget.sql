-- The month's row begins with the limit that stood last.
INSERT INTO generation_budgets (tenant_id, month, limit_usd)
SELECT %(tenant_id)s, quota_month(),
       (SELECT b.limit_usd FROM generation_budgets b WHERE b.tenant_id = %(tenant_id)s AND b.month < quota_month() ORDER BY b.month DESC LIMIT 1)
ON CONFLICT DO NOTHING
