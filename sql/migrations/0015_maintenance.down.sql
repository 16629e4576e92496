-- Forgets sizes, maintenance and backups. The dumps themselves stay in their store, each with its manifest beside it.
DROP TABLE table_sizes, maintenance_actions, database_backups;
