"""The variables by themselves: what is invalid, what is probably misspelt, and which combinations do harm."""

import difflib
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError

from content_orchestration.core.drill.targets import Targets, require_apart
from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.doctor import Finding, ok, problem, unknown, warning
from content_orchestration.settings import Settings

_LOOPBACK = {"127.0.0.1", "localhost", "::1", ""}
_ALIKE = 0.88


def invalid(error: ValidationError) -> Iterator[Finding]:
    """A line a variable that was refused. The message says the rule; what was given is not shown."""
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else "variables"
        yield problem(name, fault["msg"].removeprefix("Value error, "), "the README lists every variable", stops=True)
    yield unknown("everything else", "not looked at: the variables come first")


def combinations(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What is valid each by itself and wrong together; one line that all is well where nothing is."""
    found = [
        *_misspelt(environment),
        *_in_the_clear(settings),
        *_drills(settings),
        *_mixed_tiers(settings),
        *_without_effect(settings),
        *_switched_off(settings),
    ]
    yield from found or [ok("variables", f"{len(Settings.model_fields)} variables are valid and fit together")]


def _misspelt(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = {str(field.alias) for field in Settings.model_fields.values()}
    for name in sorted(set(environment) - known):
        for meant in difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE):
            yield warning(name, f"nobody reads it; {meant} looks alike", f"rename it to {meant} if that is meant")


def _in_the_clear(settings: Settings) -> Iterator[Finding]:
    """Secrets that would cross a network unencrypted."""
    addresses = {
        "API_BASE_URL": (settings.api_base_url, True),
        "OPENAI_BASE_URL": (settings.openai_base_url, bool(settings.openai_api_key.get_secret_value())),
        "ANTHROPIC_BASE_URL": (settings.anthropic_base_url, bool(settings.anthropic_api_key.get_secret_value())),
        "STORAGE_ENDPOINT": (settings.storage_endpoint, bool(settings.storage_access_key_id.get_secret_value())),
    }
    for name, (url, has_key) in addresses.items():
        if has_key and urlsplit(url).scheme == "http" and not _here(url):
            yield problem(name, "is http:// on another machine: the key crosses the network readable", "use https://")
    databases = {
        "DATABASE_PUBLIC_URL": settings.database_public_url,
        "DAGSTER_PG_URL": settings.dagster_pg_url,
        "DRILL_DATABASE_URL": settings.drill_database_url,
    }
    for name, secret in databases.items():
        url = secret.get_secret_value()
        if not _here(url) and parse_qs(urlsplit(url).query).get("sslmode", [""])[-1] not in (
            "require", "verify-ca", "verify-full",
        ):  # fmt: skip
            yield warning(
                name,
                "does not insist on encryption: libpq goes on without it where the server offers none",
                "add ?sslmode=verify-full (or require)",
            )


def _drills(settings: Settings) -> Iterator[Finding]:
    """Drills destroy what they work on."""
    here = (settings.zerodb_url, settings.zerodb_project_id, settings.bigquery_project, settings.bigquery_dataset)
    live = Targets(settings.database_url, *here)
    drill = Targets(
        settings.drill_database, settings.zerodb_url, settings.drill_zerodb_project_id, settings.bigquery_project,
        settings.drill_bigquery_dataset,
    )  # fmt: skip
    try:
        require_apart(live, drill)
    except Permanent as error:
        text, _, way_out = str(error).partition(" Nothing was done. ")
        yield problem("drills", text, way_out, stops=True)
    if not _here(settings.database_url) and not settings.drill_database_url.get_secret_value():
        yield warning(
            "DRILL_DATABASE_URL", "is empty beside a remote DATABASE_PUBLIC_URL: no drill runs",
            "set it to a database that is for drills alone",
        )  # fmt: skip
    if settings.dagster_database_url == settings.database_url:
        yield warning(
            "DAGSTER_PG_URL",
            "names the platform's own database: restores and drills of it would take Dagster's history along",
            "give Dagster a database of its own",
        )


def _mixed_tiers(settings: Settings) -> Iterator[Finding]:
    """Tiers of production beside tiers of this machine."""
    tiers = {
        "DATABASE_PUBLIC_URL": _here(settings.database_url),
        "DAGSTER_PG_URL": _here(settings.dagster_database_url),
        "API_BASE_URL": _here(settings.zerodb_url),
        "BIGQUERY_PROJECT_ID": settings.bigquery_url is not None and _here(settings.bigquery_url),
        "STORAGE_URL": urlsplit(settings.storage_url).scheme in ("", "file"),
    }
    local = [name for name, here in tiers.items() if here]
    if tiers["DATABASE_PUBLIC_URL"] and not tiers["BIGQUERY_PROJECT_ID"]:
        yield problem(
            "BIGQUERY_PROJECT_ID",
            "is Google's service while DATABASE_PUBLIC_URL is this machine's: its rows would enter the live history",
            "set DATABASE_PUBLIC_URL, or unset BIGQUERY_PROJECT_ID",
            stops=True,
        )
    elif not tiers["DATABASE_PUBLIC_URL"] and local:
        yield warning(
            ", ".join(local), "on this machine while the database is not: what is there is lost with the machine",
            "set them to the servers of production",
        )  # fmt: skip


def _without_effect(settings: Settings) -> Iterator[Finding]:
    if settings.storage_endpoint and urlsplit(settings.storage_url).scheme in ("", "file"):
        yield warning(
            "STORAGE_ENDPOINT", "has no effect: STORAGE_URL is a folder", "set STORAGE_URL to s3://, or unset it"
        )
    if settings.bigquery_endpoint and settings.bigquery_project_id and not _here(settings.bigquery_endpoint):
        yield warning(
            "BIGQUERY_ENDPOINT", "takes every request without credentials: it is meant for emulators",
            "unset it to use Google's service",
        )  # fmt: skip
    names = [name for name, _ in settings.generation_chain]
    if "template" in names and len(names) > 1:
        yield warning(
            "GENERATION_PROVIDERS", "template stands behind real providers: its texts stand in where those fail",
            "leave template out where a template text must never be published",
        )  # fmt: skip
    if settings.content_max_body_bytes > settings.sync_max_bytes:
        yield warning(
            "SYNC_MAX_BYTES", "is less than CONTENT_MAX_BODY_BYTES: one body fills more than a load file",
            "raise SYNC_MAX_BYTES",
        )  # fmt: skip


def _switched_off(settings: Settings) -> Iterator[Finding]:
    if not settings.bigquery_sync_enabled:
        yield warning(
            "BIGQUERY_SYNC_ENABLED",
            "is false: nothing is copied to BigQuery, and a disaster loses all since the last sync",
            "set it to true",
        )
    if not _here(settings.database_url) and not settings.notify_urls.get_secret_value():
        yield warning(
            "NOTIFY_URLS", "is empty: notices and alerts go to a file of this machine, where nobody reads them",
            "set it to a mail address or a channel",
        )  # fmt: skip


def _here(url: str) -> bool:
    return (urlsplit(url).hostname or "") in _LOOPBACK
