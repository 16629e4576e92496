-- What a delete pass would take, for the ceiling.
SELECT count(*) AS candidates FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND state = 'quarantined' AND delete_after <= %(now)s
