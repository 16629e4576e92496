"""Revision 0013: the SQL is in `0013_stray_files.up.sql` and `0013_stray_files.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0013_stray_files.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0013_stray_files.down")
