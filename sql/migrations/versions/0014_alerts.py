"""Revision 0014: the SQL is in `0014_alerts.up.sql` and `0014_alerts.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0014_alerts.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0014_alerts.down")
