"""One small question to each tier, with a timeout of its own: clients that neither retry nor wait as the engines' do.

Each asks as its engines do: with the credentials, of the database, collection or dataset they use. BigQuery is asked
over plain REST, since its client takes two seconds to import. What the answers mean is `core/operations/`.
"""

from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import Connection

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.operations.health_probe import Probe
from content_orchestration.core.sql import statement
from content_orchestration.settings import Settings

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

    from content_orchestration.resources.zerodb_client import ZeroDBClient

PROBE_SECONDS = 1.3
"""After this a question counts as not answered."""
_COLLECTION = "content_items"
_NOBODYS_ID = "health-probe"
_SCOPE = "https://www.googleapis.com/auth/bigquery"
_SERVICE = "https://bigquery.googleapis.com"


class TierProbes:
    """The questions, and the connections that they keep open between two of them."""

    def __init__(self, settings: Settings, *, seconds: float = PROBE_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._postgres: Connection[tuple[object, ...]] | None = None
        self._zerodb: ZeroDBClient | None = None
        self._bigquery: AuthorizedSession | None = None

    def all(self) -> dict[str, Probe]:
        """The question of each tier. Each raises what its client raises. What they need is imported off the clock."""
        import google.auth.transport.requests  # noqa: F401

        import content_orchestration.resources.zerodb_client  # noqa: F401

        return {"postgres": self.ask_postgres, "zerodb": self.ask_zerodb, "bigquery": self.ask_bigquery}

    def ask_postgres(self) -> None:
        """One statement on a connection of its own. Raises `Transient`."""
        try:
            if self._postgres is None or self._postgres.closed:
                self._postgres = psycopg.connect(
                    self._settings.database_url,
                    autocommit=True,
                    connect_timeout=max(1, round(self._seconds)),
                    options=f"-c statement_timeout={int(1000 * self._seconds)}",
                    application_name="content_orchestration_health",
                )
            self._postgres.execute(statement("operations/health_ping"))
        except psycopg.Error as error:
            raise Transient(f"PostgreSQL does not answer: {' '.join(str(error).split())}") from error

    def ask_zerodb(self) -> None:
        """A look-up of an id that nothing has. Raises `Transient`, and `Permanent` for a wrong key or project."""
        if self._zerodb is None:
            from content_orchestration.resources.zerodb_client import ZeroDBClient

            self._zerodb = ZeroDBClient(
                self._settings.zerodb_url,
                self._settings.zerodb_project_id,
                self._settings.zerodb_key,
                timeout=self._seconds,
                concurrency=1,
                attempts=1,
                total_timeout=self._seconds,
            )
        self._zerodb.get_many(_COLLECTION, [_NOBODYS_ID])

    def ask_bigquery(self) -> None:
        """The dataset's description: no query, no cost. Raises `Transient`, and `Permanent` for what is refused."""
        import requests
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        try:
            if self._bigquery is None:
                self._bigquery = _session(self._settings)
            answer = self._bigquery.get(_dataset(self._settings), timeout=self._seconds)
        except DefaultCredentialsError as error:
            raise Permanent(f"no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS ({error})") from error
        except (requests.RequestException, GoogleAuthError) as error:
            raise Transient(f"BigQuery does not answer: {type(error).__name__}") from error
        if answer.status_code != 200:
            kind = Transient if answer.status_code == 429 or answer.status_code >= 500 else Permanent
            raise kind(f"BigQuery answers {answer.status_code} for dataset {self._settings.bigquery_dataset}")

    def close(self) -> None:
        """Close what was opened. A later question opens it again."""
        if self._postgres is not None:
            self._postgres.close()
        if self._zerodb is not None:
            self._zerodb.close()
        if self._bigquery is not None:
            self._bigquery.close()  # type: ignore[no-untyped-call]
        self._postgres = self._zerodb = self._bigquery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dataset(settings: Settings) -> str:
    base = settings.bigquery_url or _SERVICE
    return f"{base}/bigquery/v2/projects/{settings.bigquery_project}/datasets/{settings.bigquery_dataset}"


def _session(settings: Settings) -> "AuthorizedSession":
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession

    if settings.bigquery_url is not None:
        return AuthorizedSession(AnonymousCredentials())  # type: ignore[no-untyped-call]
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
