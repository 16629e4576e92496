"""Revision 0010: the SQL is in `0010_media.up.sql` and `0010_media.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0010_media.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0010_media.down")
