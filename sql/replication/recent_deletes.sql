-- Ids that were deleted, whose windows are closed and that did not come back: BigQuery must hold a tombstone for each.
SELECT DISTINCT c.entity_id::text AS entity_id
FROM content_changes c, replication_cursor p
WHERE c.entity = %(entity)s AND c.op = 'D' AND c.change_xid < p.next_xid
  AND NOT EXISTS (SELECT FROM content_changes l WHERE l.entity = c.entity AND l.entity_id = c.entity_id AND l.op <> 'D'
                  AND l.change_id > c.change_id)
LIMIT %(most)s
