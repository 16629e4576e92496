-- Whether another row of the quarantine would be brought back from this very copy.
SELECT 1 AS needed FROM cleanup_quarantine
WHERE file_key = %(file_key)s AND quarantine_key = %(quarantine_key)s AND quarantine_id <> %(quarantine_id)s
  AND (state IN ('moving', 'quarantined', 'restoring')
       -- Until its own last look a save brings it back as well. The last of them takes the copy along.
       OR (state = 'deleting' AND file_fate <> 'removing'))
LIMIT 1
