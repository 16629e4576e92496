-- Generated items of this month by the reservations that were made in it, beside what the month's counter says.
-- A reservation belongs to the month in which it was made; the day of grace is for clocks, and lets the BRIN index help.
WITH made AS (
    SELECT tenant_id, sum(settled_items)::bigint AS used_items, sum(held_items)::bigint AS reserved_items
    FROM quota_reservations
    WHERE month = quota_month() AND created_at >= quota_month()::timestamp AT TIME ZONE 'UTC' - interval '1 day'
      AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
    GROUP BY tenant_id
), counted AS (
    SELECT tenant_id, used_items, reserved_items, limit_items FROM quota_generation_usage
    WHERE month = quota_month() AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
)
SELECT coalesce(m.tenant_id, c.tenant_id)::text AS tenant_id, quota_month() AS month, c.tenant_id IS NOT NULL AS counted,
       coalesce(m.used_items, 0) AS used_items, coalesce(m.reserved_items, 0) AS reserved_items,
       c.used_items AS counted_used_items, c.reserved_items AS counted_reserved_items, c.limit_items
FROM made m FULL JOIN counted c ON c.tenant_id = m.tenant_id
