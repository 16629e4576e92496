-- A superseded file that is due, locked: whoever makes it a variant again takes this row away first.
SELECT bytes, superseded_at FROM media_superseded
WHERE tenant_id = %(tenant_id)s AND key = %(key)s AND superseded_at <= clock_timestamp() - %(grace)s::interval
FOR UPDATE SKIP LOCKED
