-- From reserved to used, in one round trip: revision 0006 has the function.
SELECT * FROM quota_settle(
    %(reservation_id)s, %(bytes)s, %(items)s, %(media_bytes)s, %(media_files)s, %(part)s, %(plans)s::jsonb)
