-- Nothing is left of it. Which documents and files it had is in the audit no more than here: ids of what is gone.
UPDATE cleanup_quarantine SET state = 'deleted', ended_at = clock_timestamp(), row_json = '{}'
WHERE quarantine_id = %(quarantine_id)s AND state = 'deleting'
RETURNING quarantine_id
