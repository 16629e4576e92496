-- Statistics of the expression that was indexed.
ANALYZE render_jobs
