-- Does PostgreSQL answer a statement?
SELECT 1 AS answered
