-- Files that are about to be variants again: committed before they are looked for, so that cleanup lets go of them first.
DELETE FROM media_superseded WHERE tenant_id = %(tenant_id)s AND key = ANY (%(keys)s)
