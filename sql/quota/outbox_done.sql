-- Every target has it.
UPDATE {outbox} SET delivered_at = clock_timestamp(), claimed_until = NULL, last_error = NULL
WHERE id = %(id)s AND claim_token = %(claim_token)s
RETURNING id
