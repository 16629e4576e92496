"""Is the platform in order? Health, alerts, maintenance, backups, and the size of what Dagster itself keeps."""
