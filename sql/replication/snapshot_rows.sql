-- Every row of a tenant for a snapshot, in no order; runs as a COPY, which binds no values, so the tenant is a setting.
-- The setting is in a subquery of its own: read for each row, it would take a tenth of the time.
SELECT {expressions}, CASE WHEN {odd} THEN row_to_json(r)::text END AS printed_row
FROM {table} r
WHERE r.tenant_id = (SELECT current_setting('content_orchestration.tenant_id')::uuid)
