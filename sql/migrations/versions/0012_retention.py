"""Revision 0012: the SQL is in `0012_retention.up.sql` and `0012_retention.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0012_retention.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0012_retention.down")
