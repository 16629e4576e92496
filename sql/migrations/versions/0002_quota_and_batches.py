"""Revision 0002: the SQL is in `0002_quota_and_batches.up.sql` and `0002_quota_and_batches.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0002_quota_and_batches.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0002_quota_and_batches.down")
