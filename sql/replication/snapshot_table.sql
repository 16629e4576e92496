-- Every row of a table for a comparison, in no order, or those of the tenant that the setting names; runs as a COPY, which binds
-- no values. The setting is in subqueries of their own: read for each row, it would take a tenth of the time.
SELECT {expressions}, CASE WHEN {odd} THEN row_to_json(r)::text END AS printed_row
FROM {table} r
WHERE (SELECT current_setting('content_orchestration.tenant_id') = '')
   OR r.tenant_id = (SELECT nullif(current_setting('content_orchestration.tenant_id'), '')::uuid)
