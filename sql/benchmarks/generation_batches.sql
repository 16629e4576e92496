-- Batches as submit makes them; a million items by submit would take a minute that nobody measures.
INSERT INTO content_generation_jobs (id, tenant_id, job_type, content_type, target_count)
SELECT gen_random_uuid(), %(tenant_id)s, 'benchmark', 'post', %(items)s FROM generate_series(1, %(batches)s)
