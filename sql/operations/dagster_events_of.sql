-- How many events these runs have.
SELECT count(*) AS events FROM event_logs WHERE run_id = ANY (%(runs)s)
