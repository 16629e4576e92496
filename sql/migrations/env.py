"""Alembic's environment. The connection comes from `core/schema/postgres.py`; there is no alembic.ini."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True, version_table="content_orchestration_version")
with context.begin_transaction():
    context.run_migrations()
