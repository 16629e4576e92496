"""Revision 0003: the SQL is in `0003_change_log.up.sql` and `0003_change_log.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0003_change_log.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0003_change_log.down")
