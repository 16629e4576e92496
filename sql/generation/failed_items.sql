-- What a batch did not bring to a good end, in its order, wherever it lies by now.
SELECT id, topic_id, article_id, request_data, priority FROM (
    SELECT id, topic_id, article_id, request_data, priority, status FROM generation_jobs WHERE batch_id = %(batch_id)s
    UNION ALL
    SELECT id, topic_id, article_id, request_data, priority, status FROM generation_jobs_history WHERE batch_id = %(batch_id)s
) AS items
WHERE status IN ('failed', 'cancelled') ORDER BY id
