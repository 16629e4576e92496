-- Whether any render has a file; none has where a platform renders nothing.
SELECT 1 FROM render_jobs WHERE output_url IS NOT NULL LIMIT 1
