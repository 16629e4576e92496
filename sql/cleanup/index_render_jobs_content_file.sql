-- Which renders name the same file, without blocking anybody who renders.
CREATE INDEX CONCURRENTLY render_jobs_content_file ON render_jobs (content_render_file(output_url)) WHERE output_url IS NOT NULL
