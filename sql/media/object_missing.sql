-- A stored file whose bytes are not in the store, or are others. It is put anew when the same bytes come again.
UPDATE media_objects SET state = 'missing', verified_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND key = %(key)s AND state <> 'missing'
