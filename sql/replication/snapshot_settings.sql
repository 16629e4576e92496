-- The tenant that a snapshot reads. Its stream waits while files are loaded, so it must not run against the statement timeout.
SELECT set_config('content_orchestration.tenant_id', $1::text, true), set_config('statement_timeout', '0', true)
