-- Rows of a table, by a restriction of constants; for rows that are too large for one message of the Storage Read API.
SELECT {columns} FROM `{table}` WHERE {restriction}
