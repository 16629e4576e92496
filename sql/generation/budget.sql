-- The month as it stands; before its first batch it has the limit that stood last.
SELECT quota_month() AS month, CASE WHEN b.month = quota_month() THEN b.spent_usd ELSE 0 END AS spent_usd,
       CASE WHEN b.month = quota_month() THEN b.reserved_usd ELSE 0 END AS reserved_usd, b.limit_usd
FROM (SELECT 1) AS always
LEFT JOIN generation_budgets b ON b.tenant_id = %(tenant_id)s AND b.month <= quota_month()
ORDER BY b.month DESC NULLS LAST LIMIT 1
