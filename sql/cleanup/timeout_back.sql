-- The connection goes back to the pool as it came.
SELECT set_config('statement_timeout', current_setting('content.statement_timeout'), false)
