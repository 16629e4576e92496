-- Removes the keys that tenants brought. What was sealed is gone for good; the tenants' own copies still work.
DROP TABLE tenant_provider_keys;
DROP TABLE tenant_data_keys;
