-- One item or all of a queue's, running ones by moving their token: revision 0016 has the function.
SELECT generation_cancel(%(tenant_id)s, %(queue_id)s, %(item_id)s) AS cancelled
