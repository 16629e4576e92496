"""Engines of operations: health, alerts, maintenance, backups, retention of Dagster's own log, the doctor."""
