-- Metadata of an item as text: parsed into Python its numbers would be rounded.
SELECT metadata::text AS metadata FROM content_storage_metadata WHERE tenant_id = %(tenant_id)s AND id = %(id)s
