"""Revision 0005: the SQL is in `0005_restore.up.sql` and `0005_restore.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0005_restore.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0005_restore.down")
