"""Prepares the local database: the platform's tables and, where they are empty, the demo's legacy data."""

import psycopg

from content_orchestration.local.demo_load import load_demo
from content_orchestration.local.demo_renders import write_demo_renders
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.settings import Settings


def prepare(settings: Settings) -> str:
    """Create and fill what is missing on the local server, and say so. A configured database is never touched."""
    if settings.database_public_url.get_secret_value():
        return "DATABASE_PUBLIC_URL is set: its platform tables are used as they are, no demo data is loaded"
    with psycopg.connect(settings.database_url) as connection:
        created = create_platform_tables(connection)
        report = load_demo(connection)
    rows = f" ({', '.join(f'{rows} {table}' for table, rows in report.rows.items())})" if report.loaded else ""
    files = write_demo_renders(settings) if report.loaded else 0
    written = f"; {files} files of renders" if files else ""
    return f"platform tables: {len(created)} created; demo data: {report.reason}{rows}{written}"
