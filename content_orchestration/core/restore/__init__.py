"""Bringing content back from BigQuery's history."""
