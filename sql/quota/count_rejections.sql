-- Adds refusals of the ledger to their tenants' counters of today, in a transaction of its own.
SELECT quota_count_rejections(%(tenants)s::uuid[], %(reservations)s::uuid[], %(scopes)s::text[], %(counts)s::bigint[])
