-- An item or a batch, wherever it lies by now: revision 0008 has the function.
SELECT get_job_progress(%(id)s) AS progress
