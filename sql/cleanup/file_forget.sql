-- The file goes in this transaction, or somebody names it again: either way it is superseded no longer.
DELETE FROM media_superseded WHERE tenant_id = %(tenant_id)s AND key = %(key)s
