"""Revision 0006: the SQL is in `0006_quota.up.sql` and `0006_quota.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0006_quota.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0006_quota.down")
