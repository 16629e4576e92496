"""Dagster definitions, one folder for each question a data engineer asks."""
