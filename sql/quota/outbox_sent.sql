-- One target has it: written down at once, so that a retry for the others leaves this one out.
UPDATE {outbox} SET delivered_to = array_append(delivered_to, %(target)s)
WHERE id = %(id)s AND claim_token = %(claim_token)s
RETURNING id
