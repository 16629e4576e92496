-- All items of a batch in one statement. One moment for all of them: within a priority they are claimed in the order given.
INSERT INTO generation_jobs (id, batch_id, queue_id, tenant_id, topic_id, article_id, request_data, priority, max_attempts, run_after)
SELECT i.id, %(batch_id)s, %(batch_id)s, %(tenant_id)s, i.topic_id, i.article_id, i.request::jsonb, i.priority, %(max_attempts)s,
       statement_timestamp()
FROM unnest(%(ids)s::text[], %(topics)s::uuid[], %(articles)s::uuid[], %(requests)s::text[], %(priorities)s::smallint[])
     AS i (id, topic_id, article_id, request, priority)
