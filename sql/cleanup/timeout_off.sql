-- Building an index of a large table takes longer than any other statement.
SELECT set_config('content.statement_timeout', current_setting('statement_timeout'), false), set_config('statement_timeout', '0', false)
