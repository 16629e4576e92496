-- What a quarantine pass would take, for the ceiling.
SELECT count(*) AS candidates FROM render_candidates WHERE state = 'orphan' AND since <= %(now)s
