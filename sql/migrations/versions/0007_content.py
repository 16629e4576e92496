"""Revision 0007: the SQL is in `0007_content.up.sql` and `0007_content.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0007_content.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0007_content.down")
