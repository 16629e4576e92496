-- What a step of maintenance did.
INSERT INTO maintenance_actions (action, relation, outcome, detail, bytes_before, bytes_after, seconds, run_id)
VALUES (%(action)s, %(relation)s, %(outcome)s, %(detail)s, %(bytes_before)s, %(bytes_after)s, %(seconds)s, %(run_id)s)
