-- Renders of some days ago, all completed, in the ids' own random order.
INSERT INTO render_jobs (id, user_id, status, output_url, created_at, updated_at)
SELECT gen_random_uuid(), %(user_id)s, 'completed', 'renders/t/' || n || '.mp4', now() - interval '3 days', now() - interval '3 days'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
