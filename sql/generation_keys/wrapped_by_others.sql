-- Data keys that another master key than the current one wraps, some at a time.
SELECT tenant_id, version, master_key_id, wrapped FROM tenant_data_keys
WHERE master_key_id <> %(master_key_id)s ORDER BY tenant_id, version LIMIT %(most)s
