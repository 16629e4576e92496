-- Data keys under which nothing is sealed any more.
DELETE FROM tenant_data_keys WHERE tenant_id = %(tenant)s AND version < %(version)s
