-- A file that is no stray any more, or that waits to be removed.
DELETE FROM stray_objects WHERE tenant_id = %(tenant_id)s AND key = %(key)s
