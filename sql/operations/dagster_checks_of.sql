-- Results of checks of runs that are gone. None is the latest of its check: their runs would have been kept.
DELETE FROM asset_check_executions
WHERE run_id = ANY (%(runs)s) AND NOT EXISTS (SELECT FROM runs r WHERE r.run_id = asset_check_executions.run_id)
