-- The generation queue.
SELECT 1;
