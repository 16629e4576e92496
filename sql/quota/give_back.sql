-- Deleted content leaves the counters: revision 0006 has the function.
SELECT * FROM quota_give_back(%(tenant_id)s, %(brand_id)s, %(bytes)s, %(items)s, %(media_bytes)s, %(media_files)s)
