"""Windows over the change log, into BigQuery."""
