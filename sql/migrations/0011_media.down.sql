-- Objects, variants and their use.
SELECT 1;
