-- Renews the lease before a send. No row: the lease ran out and another deliverer has it, so nothing may be sent.
UPDATE {outbox} SET claimed_until = clock_timestamp() + %(lease_seconds)s * interval '1 second'
WHERE id = %(id)s AND claim_token = %(claim_token)s AND claimed_until > clock_timestamp()
RETURNING id
