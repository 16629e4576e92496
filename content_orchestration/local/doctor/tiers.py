"""ZeroDB and BigQuery as the doctor sees them: a few cheap requests each, none of which changes or costs anything."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.operations.doctor import Finding, ok, problem, unknown, warning
from content_orchestration.core.operations.doctor_measures import http_clock
from content_orchestration.settings import Settings

if TYPE_CHECKING:
    from google.cloud import bigquery

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# What a sync, a restore and maintenance do with a table of ours.
_PERMISSIONS = (
    "bigquery.tables.get",
    "bigquery.tables.getData",
    "bigquery.tables.update",
    "bigquery.tables.updateData",
)
_GRANT = "grant BigQuery Data Editor on the dataset, BigQuery Job User and Read Session User on the project"


def zerodb(settings: Settings, seconds: float, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Whether it answers, its clock, whether it takes our key, and whether our collections are there.

    Each request may take `seconds`, here and below.
    """
    import httpx

    url = settings.zerodb_url
    server = urlsplit(url).netloc.rpartition("@")[2]
    try:
        # As the client does: a proxy of the environment cannot reach this machine's own servers.
        with httpx.Client(timeout=seconds, trust_env=urlsplit(url).hostname not in _LOOPBACK) as client:
            asked = now()
            answer = client.get(f"{url}/health")
            answered = now()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield problem(
            "zerodb", f"{server} does not answer ({type(error).__name__})",
            "start the server (make up starts the local one), or correct API_BASE_URL",
        )  # fmt: skip
        yield unknown("zerodb key", "not looked at: the server does not answer")
        return
    if answer.status_code != 200:
        yield problem("zerodb", f"{server} answers {answer.status_code} to /health", "correct API_BASE_URL")
    else:
        yield ok("zerodb", f"{server} answers in {1000 * (answered - asked):.0f} ms")
    yield http_clock("zerodb clock", asked, answer.headers.get("Date"), answered)
    yield from _collections(settings, seconds)


def _collections(settings: Settings, seconds: float) -> Iterator[Finding]:
    from content_orchestration.core.schema.documents import COLLECTIONS
    from content_orchestration.resources.zerodb_client import ZeroDBClient

    try:
        with ZeroDBClient(
            settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key, timeout=seconds, attempts=1,
            total_timeout=seconds, concurrency=1,
        ) as client:  # fmt: skip
            present = client.collections()
    except Permanent as error:
        text, _, way_out = str(error).rpartition(": ")
        yield problem("zerodb key", text, way_out)
        return
    except Transient as error:
        yield unknown("zerodb key", str(error))
        return
    missing = [name for name in COLLECTIONS if name not in present]
    yield ok("zerodb key", f"is taken for project {settings.zerodb_project_id}")
    if missing:
        yield problem(
            "zerodb collections", f"{', '.join(missing)} missing", "materialize zerodb_collections (make up does)",
            mended_by_main_job=True,
        )  # fmt: skip
    else:
        yield ok("zerodb collections", f"all {len(COLLECTIONS)} are there")


def bigquery_dataset(settings: Settings, seconds: float) -> Iterator[Finding]:
    """Credentials, dataset, location, tables, and what the credentials may do."""
    import requests
    from google.api_core import exceptions as google
    from google.auth.exceptions import GoogleAuthError

    from content_orchestration.resources.bigquery_gcp import google_client

    name = f"{settings.bigquery_project}.{settings.bigquery_dataset}"
    server = settings.bigquery_url or "Google's service"
    try:
        client = google_client(settings)
    except GoogleAuthError:
        yield problem(
            "bigquery", "there are no usable Google credentials",
            "set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file, or unset BIGQUERY_PROJECT_ID",
        )  # fmt: skip
        return
    try:
        yield from _dataset(client, settings, name, seconds)
    except google.Forbidden as error:
        yield problem("bigquery", f"{name}: permission denied ({error.message})", _GRANT)
    except (google.Unauthorized, GoogleAuthError):
        yield problem(
            "bigquery", "the credentials are not taken", "set GOOGLE_APPLICATION_CREDENTIALS to a valid key file"
        )
    except (requests.RequestException, google.ServerError, google.RetryError, google.TooManyRequests) as error:
        yield problem(
            "bigquery", f"{server} does not answer ({type(error).__name__})",
            "start the emulator (make up does), or correct BIGQUERY_ENDPOINT",
        )  # fmt: skip
        yield unknown("bigquery dataset", "not looked at: the server does not answer")
    except google.GoogleAPICallError as error:
        yield problem("bigquery", f"{name}: {error.message}", "correct BIGQUERY_PROJECT_ID and BIGQUERY_DATASET")
    finally:
        client.close()  # type: ignore[no-untyped-call]


def _dataset(client: "bigquery.Client", settings: Settings, name: str, seconds: float) -> Iterator[Finding]:
    from google.api_core import exceptions as google
    from google.cloud import bigquery

    from content_orchestration.core.replication.tables import TABLES

    once: dict[str, Any] = {"timeout": seconds, "retry": _no_retry()}
    query = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    client.query(
        "SELECT 1", job_config=query, location=settings.bigquery_location, job_retry=None, **once
    )  # free: nothing is read
    yield ok("bigquery", f"{settings.bigquery_url or 'the service'} answers and takes queries")
    try:
        dataset = client.get_dataset(name, **once)
    except google.NotFound:
        yield problem(
            "bigquery dataset", f"{name} is not there", "materialize bigquery_dr_tables (make up does)",
            mended_by_main_job=True,
        )  # fmt: skip
        return
    if (dataset.location or "").upper() != settings.bigquery_location.upper():
        yield problem(
            "bigquery dataset",
            f"{name} is in {dataset.location}, and BIGQUERY_LOCATION is {settings.bigquery_location}",
            "correct BIGQUERY_LOCATION, or name a dataset there: a dataset cannot be moved",
        )  # fmt: skip
    else:
        yield ok("bigquery dataset", f"{name} in {dataset.location}")
    present = {table.table_id for table in client.list_tables(dataset, **once)}
    missing = [spec.name for spec in TABLES if spec.name not in present]
    if missing:
        yield problem(
            "bigquery tables", f"{', '.join(missing)} missing", "materialize bigquery_dr_tables (make up does)",
            mended_by_main_job=True,
        )  # fmt: skip
        return
    yield ok("bigquery tables", f"all {len(TABLES)} are there")
    if settings.bigquery_url is None:
        yield _permissions(client, f"{name}.{TABLES[0].name}", once)


def _permissions(client: "bigquery.Client", table: str, once: dict[str, Any]) -> Finding:
    granted = client.test_iam_permissions(table, _PERMISSIONS, **once).get("permissions", [])
    lacking = [permission for permission in _PERMISSIONS if permission not in granted]
    if lacking:
        return problem("bigquery permissions", f"{', '.join(lacking)} not granted on {table}", _GRANT)
    return ok("bigquery permissions", "tables can be read and written; read sessions were not tried")


def _no_retry() -> Any:
    from google.api_core.retry import Retry

    return Retry(predicate=lambda error: False)


def credentials_file(path: str | None) -> Iterator[Finding]:
    """Whether the file that GOOGLE_APPLICATION_CREDENTIALS names is there, and closed to others."""
    about = "GOOGLE_APPLICATION_CREDENTIALS"
    if not path:
        return
    file = Path(path)
    if not file.is_file():
        yield problem(about, f"{file} is no file", "correct the path, or unset the variable")
    elif file.stat().st_mode & 0o077:
        yield warning(about, f"{file} can be read by other accounts", f"chmod 600 {file}")
    else:
        yield ok(about, f"{file} is there, for this account alone")
