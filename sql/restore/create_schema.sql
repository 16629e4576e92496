-- A schema for what is restored beside the live content.
CREATE SCHEMA IF NOT EXISTS {schema}
