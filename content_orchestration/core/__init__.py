"""The engines. They import no Dagster; clients, clock and sleep are arguments."""
