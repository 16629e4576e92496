-- Every render is saved but so many of them, with metadata of a usual size.
INSERT INTO user_assets (id, user_id, asset_type, metadata, file_size, created_at)
SELECT gen_random_uuid(), user_id, 'generated_saved',
       jsonb_build_object('render_job_id', id::text, 'prompt', repeat('words ', 10), 'width', 1920, 'height', 1080), 1000, now() - interval '3 days'
FROM (SELECT id, user_id FROM render_jobs ORDER BY id OFFSET %(unsaved)s) AS r
