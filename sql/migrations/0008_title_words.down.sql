-- Restores of many rows: the words of titles.
SELECT 1;
