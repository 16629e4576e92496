-- The same data key, wrapped by another master key; not where somebody was faster.
UPDATE tenant_data_keys SET master_key_id = %(master_key_id)s, wrapped = %(wrapped)s, wrapped_at = now()
WHERE tenant_id = %(tenant)s AND version = %(version)s AND master_key_id = %(old_master_key_id)s
