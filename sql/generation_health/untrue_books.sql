-- Where the books do not say what the attempts do: batches, budgets of months, reservations. All of it as of one snapshot.
WITH recent AS (
    -- Older ones may have lost attempts to retention.
    SELECT * FROM generation_queues
    WHERE batch_id IS NOT NULL AND created_at > clock_timestamp() - make_interval(days => %(days)s::integer)
), spent AS (
    SELECT batch_id, sum(cost_usd) AS cost_usd FROM (
        SELECT batch_id, cost_usd FROM generation_attempts WHERE batch_id IN (SELECT id FROM recent)
        UNION ALL
        SELECT batch_id, cost_usd FROM generation_attempts_history WHERE batch_id IN (SELECT id FROM recent)
    ) AS a GROUP BY batch_id
), months AS (
    SELECT tenant_id, month, sum(held) AS held, sum(spent) AS spent FROM (
        SELECT tenant_id, budget_month AS month, held_usd AS held, CASE WHEN settled_at IS NULL THEN 0 ELSE cost_usd END AS spent
        FROM generation_queues WHERE batch_id IS NOT NULL AND budget_month IS NOT NULL
        UNION ALL
        SELECT tenant_id, date_trunc('month', ended_at AT TIME ZONE 'UTC')::date, 0, cost_usd FROM (
            SELECT tenant_id, ended_at, cost_usd FROM generation_attempts WHERE batch_id IS NULL AND reported AND tenant_id IS NOT NULL
            UNION ALL
            SELECT tenant_id, ended_at, cost_usd FROM generation_attempts_history
            WHERE batch_id IS NULL AND reported AND tenant_id IS NOT NULL
        ) AS alone
    ) AS m GROUP BY tenant_id, month
)
SELECT 'batch: cost in the queue' AS what, r.id AS id, r.tenant_id, coalesce(s.cost_usd, 0) AS attempts, r.cost_usd AS books
FROM recent r LEFT JOIN spent s ON s.batch_id = r.id WHERE r.cost_usd <> coalesce(s.cost_usd, 0)
UNION ALL
SELECT 'batch: total_cost_usd', r.id, r.tenant_id, coalesce(s.cost_usd, 0), b.total_cost_usd
FROM recent r JOIN content_generation_jobs b ON b.id = r.id LEFT JOIN spent s ON s.batch_id = r.id
WHERE r.settled_at IS NOT NULL AND b.total_cost_usd <> coalesce(s.cost_usd, 0)
UNION ALL
SELECT 'budget: spent_usd of ' || g.month, g.tenant_id, g.tenant_id, coalesce(m.spent, 0), g.spent_usd
FROM generation_budgets g LEFT JOIN months m ON m.tenant_id = g.tenant_id AND m.month = g.month
WHERE g.month > clock_timestamp() - make_interval(days => %(days)s::integer) AND g.spent_usd <> coalesce(m.spent, 0)
UNION ALL
SELECT 'budget: reserved_usd of ' || g.month, g.tenant_id, g.tenant_id, coalesce(m.held, 0), g.reserved_usd
FROM generation_budgets g LEFT JOIN months m ON m.tenant_id = g.tenant_id AND m.month = g.month
WHERE g.month > clock_timestamp() - make_interval(days => %(days)s::integer) AND g.reserved_usd <> coalesce(m.held, 0)
UNION ALL
SELECT 'reservation: open though the batch is settled, bytes', q.id, q.tenant_id, 0, r.held_bytes
FROM generation_queues q JOIN quota_reservations r ON r.id = q.reservation_id
WHERE q.settled_at IS NOT NULL AND r.state = 'reserved'
UNION ALL
SELECT 'batch: items that ended and are not counted so', r.id, r.tenant_id, count(j.id), r.succeeded + r.failed + r.cancelled
FROM recent r LEFT JOIN (
    SELECT id, batch_id FROM generation_jobs WHERE completed_at IS NOT NULL
    UNION ALL
    SELECT id, batch_id FROM generation_jobs_history
) AS j ON j.batch_id = r.id
GROUP BY r.id, r.tenant_id, r.succeeded, r.failed, r.cancelled HAVING count(j.id) <> r.succeeded + r.failed + r.cancelled
ORDER BY what, id
