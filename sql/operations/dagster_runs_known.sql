-- Which of these runs there are.
SELECT run_id FROM runs WHERE run_id = ANY (%(runs)s)
