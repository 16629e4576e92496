-- A part is done, by the attempt that holds the restore. Nothing inserted means that another one took over: roll back.
INSERT INTO restore_progress (restore_id, stage, part, outcome)
SELECT restore_id, %(stage)s, %(part)s, %(outcome)s::jsonb FROM restore_runs
WHERE restore_id = %(restore_id)s AND status = 'open' AND attempts = %(attempts)s FOR SHARE
ON CONFLICT (restore_id, stage, part) DO NOTHING
