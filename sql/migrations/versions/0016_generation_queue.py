"""Revision 0016: the SQL is in `0016_generation_queue.up.sql` and `0016_generation_queue.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0016_generation_queue.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0016_generation_queue.down")
