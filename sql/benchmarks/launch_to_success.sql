-- Seconds from the launch of a run, after its time in the queue, to its success.
SELECT extract(epoch FROM max("timestamp") FILTER (WHERE dagster_event_type = 'PIPELINE_SUCCESS')
                        - min("timestamp") FILTER (WHERE dagster_event_type = 'PIPELINE_STARTING'))::float8 AS seconds
FROM event_logs WHERE run_id = %(run)s
