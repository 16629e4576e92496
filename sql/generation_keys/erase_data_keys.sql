-- Without its data keys nothing that was sealed for a tenant opens any more; a backup keeps its own until it expires.
DELETE FROM tenant_data_keys WHERE tenant_id = %(tenant)s
