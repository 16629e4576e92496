-- Every target has it.
UPDATE quota_notices SET delivered_at = clock_timestamp(), claimed_until = NULL, last_error = NULL
WHERE id = %(id)s AND claim_token = %(claim_token)s
RETURNING id
