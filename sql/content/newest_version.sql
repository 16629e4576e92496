-- The newest version of an item that has a record. After a restore the item itself may point to an older one.
SELECT max(version) AS version FROM content_versions WHERE tenant_id = %(tenant_id)s AND content_id = %(id)s
