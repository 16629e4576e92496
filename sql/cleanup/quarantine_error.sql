-- Why the last try failed; the next pass tries again.
UPDATE cleanup_quarantine SET attempts = attempts + 1, error = %(error)s WHERE quarantine_id = %(quarantine_id)s
