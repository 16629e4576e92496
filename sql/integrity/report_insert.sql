-- One report. Its differences follow in the same transaction.
INSERT INTO integrity_reports (
    scope, tenant_id, run_id, outcome, started_at, seconds, attempted, compared, differences, surplus, bytes_estimated, counts, comparisons
) VALUES (
    %(scope)s, %(tenant_id)s, %(run_id)s, %(outcome)s, %(started_at)s, %(seconds)s, %(attempted)s, %(compared)s, %(differences)s,
    %(surplus)s, %(bytes_estimated)s, %(counts)s::jsonb, %(comparisons)s::jsonb
)
RETURNING report_id
