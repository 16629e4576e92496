-- The queue of an item; another tenant's item has none.
SELECT queue_id, batch_id FROM generation_jobs WHERE id = %(id)s AND tenant_id = %(tenant_id)s
