-- Which of these roles the server has.
SELECT rolname AS name FROM pg_roles WHERE rolname = ANY (%(names)s)
