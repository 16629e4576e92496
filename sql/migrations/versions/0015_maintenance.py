"""Revision 0015: the SQL is in `0015_maintenance.up.sql` and `0015_maintenance.down.sql`."""

from content_orchestration.core.schema.revisions import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply the revision."""
    run_sql("0015_maintenance.up")


def downgrade() -> None:
    """Take the revision back."""
    run_sql("0015_maintenance.down")
