"""Clients of the outside world, as Dagster resources. They decide nothing."""
