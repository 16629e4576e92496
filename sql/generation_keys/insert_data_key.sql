-- A data key, as the master key wrapped it.
INSERT INTO tenant_data_keys (tenant_id, version, master_key_id, wrapped)
VALUES (%(tenant)s, %(version)s, %(master_key_id)s, %(wrapped)s)
