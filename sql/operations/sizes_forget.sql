-- Measurements and actions older than three years: the weekly points of a hundred tables are 15,600 rows by then.
WITH actions AS (DELETE FROM maintenance_actions WHERE ended_at < clock_timestamp() - interval '3 years')
DELETE FROM table_sizes WHERE measured_at < clock_timestamp() - interval '3 years'
