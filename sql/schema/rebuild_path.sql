-- What the revisions create goes into the schema of the rebuild; the platform's tables are found behind it.
SELECT set_config('search_path', 'content_rebuild, public', true)
