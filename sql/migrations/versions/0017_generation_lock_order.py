"""Revision 0017: the SQL is in `0017_generation_lock_order.up.sql` and `0017_generation_lock_order.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0017_generation_lock_order.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0017_generation_lock_order.down")
