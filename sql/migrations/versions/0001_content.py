"""Revision 0001: the SQL is in `0001_content.up.sql` and `0001_content.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0001_content.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0001_content.down")
