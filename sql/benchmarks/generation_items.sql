-- The items of the batches above.
INSERT INTO generation_jobs (id, batch_id, queue_id, tenant_id, request_data)
SELECT b.id || '.' || lpad(n::text, 5, '0'), b.id, b.id, b.tenant_id,
       jsonb_build_object('topic', 'how to plan item ' || n, 'keywords', jsonb_build_array('a', 'b'), 'tone', 'plain')
FROM content_generation_jobs b, generate_series(1, %(items)s) n
WHERE b.tenant_id = %(tenant_id)s
