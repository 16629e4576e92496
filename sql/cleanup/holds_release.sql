-- Ends a hold that stands; one that was ended before stays as it was ended.
UPDATE legal_holds SET released_at = clock_timestamp(), released_by = %(released_by)s, release_reason = %(reason)s
WHERE hold_id = %(hold_id)s AND released_at IS NULL
RETURNING hold_id, tenant_id, reason, placed_by, placed_at
