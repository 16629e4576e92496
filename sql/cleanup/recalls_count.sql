-- Saves of what is in quarantine, up to so many.
SELECT count(*) AS waiting FROM (SELECT FROM render_recalls LIMIT %(most)s) AS r
