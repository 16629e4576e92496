-- A notice that repeats what was told today: kept in the outbox, never sent.
UPDATE quota_notices SET suppressed = 'throttled', claimed_until = NULL WHERE id = %(id)s AND claim_token = %(claim_token)s
