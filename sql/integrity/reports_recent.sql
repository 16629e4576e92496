-- The newest reports of a scope, newest first.
SELECT report_id, scope, tenant_id::text AS tenant_id, run_id, outcome, started_at, seconds, attempted, compared, differences, surplus,
       bytes_estimated, counts, comparisons, written_at
FROM integrity_reports WHERE scope = ANY (%(scopes)s) ORDER BY report_id DESC LIMIT %(most)s
