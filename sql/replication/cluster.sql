-- Which cluster the transaction ids belong to. They start again after a logical restore to another one.
SELECT system_identifier::text AS system_identifier FROM pg_control_system()
