-- Items and what their batch says of them, in one round trip: revision 0017 has the function.
SELECT c.id, c.batch_id, c.tenant_id, b.brand_id, b.user_id, coalesce(b.content_type, c.request_data ->> 'content_type', 'post') AS content_type,
       c.request_data AS request, coalesce(b.generation_params, '{}') AS params, c.attempts::integer AS attempt,
       c.max_attempts::integer AS max_attempts, c.lease_token AS token, c.lease_expires_at
FROM generation_claim(%(most)s::integer, %(worker)s, %(lease)s::interval, %(queue_id)s::uuid) AS c
LEFT JOIN content_generation_jobs b ON b.id = c.batch_id
