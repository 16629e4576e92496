-- It is no orphan any more: what it lost comes back.
UPDATE cleanup_quarantine SET state = 'restoring', error = %(reason)s WHERE quarantine_id = %(quarantine_id)s AND state = 'quarantined'
