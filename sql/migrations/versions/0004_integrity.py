"""Revision 0004: the SQL is in `0004_integrity.up.sql` and `0004_integrity.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0004_integrity.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0004_integrity.down")
