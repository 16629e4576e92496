-- The parts that are done, with what came of them.
SELECT stage, part, outcome FROM restore_progress WHERE restore_id = %(restore_id)s ORDER BY stage, part
