"""Revision 0009: the SQL is in `0009_provider_keys.up.sql` and `0009_provider_keys.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0009_provider_keys.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0009_provider_keys.down")
