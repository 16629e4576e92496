-- Until the end of the transaction no column comes or goes, so that what is read fits the columns that were looked up.
LOCK TABLE {table} IN ACCESS SHARE MODE
