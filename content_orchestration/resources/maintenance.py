"""Maintenance and backups of the platform's database as a Dagster resource. The engines are in `core/operations/`."""

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
from pydantic import PrivateAttr

from content_orchestration.core.operations.maintenance import Maintenance
from content_orchestration.core.sql import statement
from content_orchestration.resources.drill import why_no_drill
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.postgres_maintenance import (
    MaintenancePostgres,
    ScratchPostgres,
    drills_database,
)
from content_orchestration.resources.postgres_programs import programs_for
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.core.operations.backup import Backups


class MaintenanceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The platform's database for maintenance. Secrets are read from the settings and are no field."""

    _database: MaintenancePostgres | None = PrivateAttr(default=None)
    _opened: ExitStack = PrivateAttr(default_factory=ExitStack)

    def database(self) -> MaintenancePostgres:
        """The client of this run, made on first use."""
        if self._database is None:
            settings = get_settings()
            self._database = MaintenancePostgres(
                settings.database_url,
                pool_size=settings.database_pool_size,
                statement_timeout=settings.database_statement_timeout,
                application_name="content_orchestration_maintenance",
            )
            self._opened.callback(self._database.close)
        return self._database

    def maintenance(self, run_id: str) -> Maintenance:
        """Passes of VACUUM and REINDEX. Raises `Transient` where the server of drills is away."""
        settings = get_settings()
        return Maintenance(
            self.database(),
            self._drills(),
            budget_seconds=settings.maintenance_budget_minutes * 60,
            lock_seconds=settings.maintenance_lock_seconds,
            run_id=run_id,
        )

    def backups(self, run_id: str) -> "Backups":
        """Backups, restored on the server of drills where one is set, else on the database's own.

        Raises `Permanent` where there is no store or no fitting pg_dump, `Transient` where a server is away.
        """
        # pyarrow and obstore come with them: a run's process pays for these, not every import of the definitions.
        from content_orchestration.core.operations.backup import Backups
        from content_orchestration.resources.backup_store import backup_store_of

        settings = get_settings()
        store = backup_store_of(settings)
        database = self.database()
        with database.connection() as connection:
            version = connection.execute(statement("operations/server_version")).fetchone() or {}
        return Backups(
            database,
            self._drills(),
            url=settings.database_url,
            store=store,
            programs=programs_for(version["number"], settings.postgres_programs),
            scratch=ScratchPostgres(settings.drill_database_url.get_secret_value() or settings.database_url),
            keep=settings.backup_keep,
            keep_days=settings.backup_keep_days,
            run_id=run_id,
        )

    def close(self) -> None:
        """Close the clients. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        self._opened.close()
        self._database = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the clients at the end of the run."""
        self.close()

    def _drills(self) -> PostgresClient | None:
        settings = get_settings()
        if why_no_drill(settings) is not None or urlsplit(settings.drill_database).path in ("", "/"):
            return None
        drills = drills_database(settings.drill_database)
        if drills is not None:
            self._opened.callback(drills.close)
        return drills
