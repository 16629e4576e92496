"""Revision 0008: the SQL is in `0008_generation.up.sql` and `0008_generation.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0008_generation.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0008_generation.down")
