-- A target did not take it: tried again after the wait, for the targets that lack it.
UPDATE {outbox}
SET next_attempt_at = clock_timestamp() + %(wait_seconds)s * interval '1 second', claimed_until = NULL, last_error = %(error)s
WHERE id = %(id)s AND claim_token = %(claim_token)s
RETURNING id
