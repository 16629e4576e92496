-- One conditional UPDATE decides. Without a limit nothing is reserved, and a limit wants to know the batch's most.
UPDATE generation_budgets SET
    reserved_usd = reserved_usd + CASE WHEN limit_usd IS NULL THEN 0 ELSE %(usd)s::numeric(14,6) END, updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND month = quota_month()
  AND (limit_usd IS NULL OR spent_usd + reserved_usd + %(usd)s::numeric(14,6) <= limit_usd)
RETURNING month, CASE WHEN limit_usd IS NULL THEN 0 ELSE %(usd)s::numeric(14,6) END AS held_usd
