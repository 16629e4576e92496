"""Revision 0011: the SQL is in `0011_cleanup.up.sql` and `0011_cleanup.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0011_cleanup.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0011_cleanup.down")
