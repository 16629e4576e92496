-- What the batch holds, and what a claim looks at.
INSERT INTO generation_queues (
    id, tenant_id, batch_id, priority, queued, request_sha256, reservation_id, max_cost_usd, held_usd, budget_month)
VALUES (
    %(batch_id)s, %(tenant_id)s, %(batch_id)s, %(priority)s, %(items)s, %(request_sha256)s, %(reservation_id)s, %(max_cost_usd)s,
    %(held_usd)s, %(month)s)
