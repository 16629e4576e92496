"""Dagster project for the storage life of a multi-tenant content platform."""
