-- One report, without its differences.
SELECT report_id, scope, tenant_id::text AS tenant_id, run_id, outcome, started_at, seconds, attempted, compared, differences, surplus,
       bytes_estimated, counts, comparisons, written_at
FROM integrity_reports WHERE report_id = %(report_id)s
