-- The queue of a tenant's rows of the older shape: who claims, moves or ends one of them has to wait.
SELECT id FROM generation_queues WHERE id = %(tenant_id)s AND batch_id IS NULL FOR UPDATE
