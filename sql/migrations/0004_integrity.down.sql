-- What is known of the copies goes; the copies stay.
DROP TABLE unclaimed_documents;
DROP TABLE warehouse_scrub_progress;
DROP TABLE body_scrub_progress;
DROP TABLE integrity_repairs;
DROP TABLE integrity_differences;
DROP TABLE integrity_reports;
