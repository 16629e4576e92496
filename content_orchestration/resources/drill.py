"""The scratch tiers of disaster drills as a Dagster resource. They are never the live ones: that is checked here first.

Importing this module costs nothing beyond Dagster; the clients load with the first use.
"""

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
from pydantic import PrivateAttr

from content_orchestration.core.drill.targets import Targets, require_apart
from content_orchestration.core.errors import Permanent
from content_orchestration.settings import Settings, get_settings

if TYPE_CHECKING:
    from content_orchestration.core.drill.scratch import Scratch

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def why_no_drill(settings: Settings) -> str | None:
    """Why no drill can run, with the way out; None where one can. Sends no request."""
    live = settings.database_public_url.get_secret_value()
    if live and urlsplit(live).hostname not in _LOOPBACK and not settings.drill_database_url.get_secret_value():
        return (
            "DRILL_DATABASE_URL is empty, but DATABASE_PUBLIC_URL names a server that is not this machine: set it to a "
            "database that is for drills alone"
        )
    return None


def live_targets(settings: Settings) -> Targets:
    """What no drill may work on."""
    return Targets(
        settings.database_url,
        settings.zerodb_url,
        settings.zerodb_project_id,
        settings.bigquery_project,
        settings.bigquery_dataset,
    )


def drill_targets(settings: Settings) -> Targets:
    """What drills work on: their own database, project and dataset, on the servers of the live ones or on others."""
    return Targets(
        settings.drill_database,
        settings.zerodb_url,
        settings.drill_zerodb_project_id,
        settings.bigquery_project,
        settings.drill_bigquery_dataset,
    )


class DrillResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The tiers in which drills make their disasters. Secrets are read from the settings and are no field."""

    _scratch: "Scratch | None" = PrivateAttr(default=None)
    _opened: ExitStack | None = PrivateAttr(default=None)

    def scratch(self) -> "Scratch":
        """The scratch tiers, opened on first use; nothing is sent yet.

        Raises `Permanent` where one of them is the live one, or where there is no place for drills.
        """
        if self._scratch is None:
            from google.auth.exceptions import DefaultCredentialsError

            from content_orchestration.core.drill.scratch import Scratch
            from content_orchestration.resources.bigquery import NO_CREDENTIALS
            from content_orchestration.resources.bigquery_gcp import google_client
            from content_orchestration.resources.drill_clients import DrillBigQuery, DrillPostgres, DrillZeroDB

            settings = get_settings()
            reason = why_no_drill(settings)
            if reason:
                raise Permanent(reason)
            targets = drill_targets(settings)
            require_apart(live_targets(settings), targets)
            opened = ExitStack()
            database = DrillPostgres(
                targets.database_url,
                pool_size=settings.database_pool_size,
                statement_timeout=settings.database_statement_timeout,
                application_name="content_orchestration_drill",
            )
            opened.callback(database.close)
            store = DrillZeroDB(
                targets.zerodb_url,
                targets.zerodb_project,
                settings.zerodb_key,
                timeout=settings.api_timeout,
                concurrency=settings.zerodb_concurrency,
            )
            opened.callback(store.close)
            try:
                client = opened.enter_context(closing(google_client(settings)))
            except DefaultCredentialsError as error:
                raise Permanent(f"{NO_CREDENTIALS} ({error})") from error
            warehouse = DrillBigQuery(
                client,
                targets.bigquery_dataset,
                location=settings.bigquery_location,
                read_endpoint=settings.bigquery_read_address,
            )
            self._opened, self._scratch = opened, Scratch(database, store, warehouse)
        return self._scratch

    def close(self) -> None:
        """Close the clients. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        if self._opened is not None:
            self._opened.close()
        self._opened = self._scratch = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the clients at the end of the run."""
        self.close()
