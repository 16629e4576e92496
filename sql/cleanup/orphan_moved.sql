-- The grace begins when the file is in quarantine.
UPDATE cleanup_quarantine SET state = 'quarantined', file_fate = %(file_fate)s, quarantine_key = %(quarantine_key)s,
       size_bytes = %(size_bytes)s, quarantined_at = clock_timestamp(), delete_after = clock_timestamp() + %(grace)s, error = NULL
WHERE quarantine_id = %(quarantine_id)s AND state = 'moving'
RETURNING quarantined_at
