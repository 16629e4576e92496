-- Ages are measured by the database's clock alone; this machine's is only compared with it.
SELECT clock_timestamp() AS now
