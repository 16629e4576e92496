-- A save that came while the row was deleted holds FOR KEY SHARE until it commits: this waits for it.
SELECT quarantine_id FROM cleanup_quarantine WHERE quarantine_id = %(quarantine_id)s AND state = 'deleting' FOR UPDATE
