-- Ends expired reservations of one tenant: revision 0006 has the function.
SELECT * FROM quota_reap(%(tenant_id)s, %(most)s)
