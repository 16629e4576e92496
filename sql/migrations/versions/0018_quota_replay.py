"""Revision 0018: the SQL is in `0018_quota_replay.up.sql` and `0018_quota_replay.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0018_quota_replay.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0018_quota_replay.down")
