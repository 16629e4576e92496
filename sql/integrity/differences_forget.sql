-- Rows of differences are kept for the newest reports, up to a number in all; an older report keeps its counts.
WITH aged AS (
    SELECT report_id, sum(differences - surplus) OVER (ORDER BY report_id DESC) AS kept FROM integrity_reports
), old AS (
    UPDATE integrity_reports r SET surplus = r.differences FROM aged a
    WHERE a.report_id = r.report_id AND a.kept > %(most)s AND r.report_id <> %(report_id)s AND r.surplus < r.differences
    RETURNING r.report_id
)
DELETE FROM integrity_differences d USING old WHERE d.report_id = old.report_id
