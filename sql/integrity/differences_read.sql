-- The differences of a report by kind, in the order in which they were found. Those that no repair has settled come first.
SELECT d.position, d.comparison, d.kind, d.table_name, d.entity_id, d.tenant_id, d.detail
FROM integrity_differences d
WHERE d.report_id = %(report_id)s AND d.kind = ANY (%(kinds)s)
ORDER BY EXISTS (SELECT FROM integrity_repairs r WHERE r.report_id = d.report_id AND r.position = d.position
                 AND r.outcome IN ('repaired', 'already_clean', 'refused')), d.position
LIMIT %(most)s
