-- A limit from this month on; NULL takes it away. What is reserved and spent stays.
INSERT INTO generation_budgets AS b (tenant_id, month, limit_usd) VALUES (%(tenant_id)s, quota_month(), %(limit_usd)s)
ON CONFLICT (tenant_id, month) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = clock_timestamp()
