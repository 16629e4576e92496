-- The plain way to find orphans, against which the scan is measured.
SELECT r.id FROM render_jobs r LEFT JOIN user_assets a ON a.metadata ->> 'render_job_id' = r.id::text
WHERE r.status = 'completed' AND r.output_url IS NOT NULL AND r.created_at < now() - interval '1 hour' AND a.id IS NULL
