-- Rows on their way into the target, of this session and transaction only: they cost no log, and a kill leaves none.
CREATE TEMPORARY TABLE restore_staging (n integer NOT NULL, id uuid NOT NULL, doc text NOT NULL) ON COMMIT DROP
