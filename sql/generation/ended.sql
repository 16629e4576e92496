-- What ended within the last hour, and why what failed did.
SELECT status, error_category, count(*) AS items
FROM generation_jobs
WHERE completed_at > clock_timestamp() - interval '1 hour' AND (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
GROUP BY status, error_category
