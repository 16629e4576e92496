-- A key that waits for its verification.
INSERT INTO tenant_provider_keys (tenant_id, provider, version, data_key_version, sealed, created_by)
VALUES (%(tenant)s, %(provider)s, %(version)s, %(data_key_version)s, %(sealed)s, %(created_by)s)
