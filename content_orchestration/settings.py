"""Every environment variable of the project: its name, type, default, unit and meaning.

The README's table is generated from this file (`python -m content_orchestration.settings`). Nothing else reads the
environment. The defaults describe the local stack; production sets endpoints and credentials.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LOCAL_KEY = "local-development-key"
_LOOPBACK = {"127.0.0.1", "localhost", "::1", ""}


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in _LOOPBACK


class Settings(BaseSettings):
    """The validated environment. An unset production secret beside a production endpoint is refused here."""

    model_config = SettingsConfigDict(
        case_sensitive=True, extra="ignore", frozen=True, populate_by_name=True,
        # An error message with the input in it would carry the password into logs and into Dagster's UI.
        hide_input_in_errors=True, env_ignore_empty=True,
    )  # fmt: skip

    database_public_url: SecretStr = Field(
        default=SecretStr(""),
        alias="DATABASE_PUBLIC_URL",
        description="PostgreSQL of the platform, `postgresql://user:password@host:port/database`. "
        "Empty means the local server on `LOCAL_POSTGRES_PORT`.",
    )
    database_pool_size: int = Field(
        default=20,
        ge=4,
        le=200,
        alias="DATABASE_POOL_SIZE",
        description="Most connections that one process opens; a snapshot uses three at once.",
    )
    database_statement_timeout: float = Field(
        default=300,
        gt=0,
        alias="DATABASE_STATEMENT_TIMEOUT",
        description="Seconds after which PostgreSQL cancels a statement of ours.",
    )
    dagster_pg_url: SecretStr = Field(
        default=SecretStr(""),
        alias="DAGSTER_PG_URL",
        description="PostgreSQL for Dagster's own storage. Empty means database `dagster` of the local server.",
    )

    zerodb_api_key: SecretStr = Field(
        default=SecretStr(""), alias="ZERODB_API_KEY", description="Key of the ZeroDB project, sent as `X-API-Key`."
    )
    zerodb_project_id: str = Field(
        default="local",
        min_length=1,
        alias="ZERODB_PROJECT_ID",
        description="ZeroDB project of the bodies.",
    )
    api_base_url: str = Field(
        default="",
        alias="API_BASE_URL",
        description="Base URL of ZeroDB's API, version included. Empty means the local server on `LOCAL_ZERODB_PORT`.",
    )
    api_timeout: float = Field(
        default=30, gt=0, alias="API_TIMEOUT", description="Seconds that one ZeroDB request may take."
    )
    zerodb_concurrency: int = Field(
        default=8, ge=1, le=64, alias="ZERODB_CONCURRENCY", description="Most ZeroDB requests in flight in one process."
    )

    bigquery_project_id: str = Field(
        default="",
        alias="BIGQUERY_PROJECT_ID",
        description="Google Cloud project of the dataset. Empty means `local-project` on the emulator.",
    )
    bigquery_dataset: str = Field(
        default="content_dr",
        pattern=r"^[A-Za-z0-9_]{1,1024}$",
        alias="BIGQUERY_DATASET",
        description="Dataset that holds the disaster-recovery tables.",
    )
    bigquery_location: str = Field(
        default="US", alias="BIGQUERY_LOCATION", description="Location in which the dataset is created."
    )
    bigquery_sync_enabled: bool = Field(
        default=True,
        alias="BIGQUERY_SYNC_ENABLED",
        description="`false` makes the replication schedule skip, with the reason; all else works.",
    )
    bigquery_sync_interval_minutes: int = Field(
        default=15,
        alias="BIGQUERY_SYNC_INTERVAL_MINUTES",
        description="Minutes between two syncs; a divisor of 60.",
    )
    bigquery_sync_batch_size: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        alias="BIGQUERY_SYNC_BATCH_SIZE",
        description="Changed rows that one window takes before the next begins; one transaction is never split.",
    )
    sync_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        alias="SYNC_MAX_BYTES",
        description="Bytes of rows and bodies after which a load file is closed and the next begun.",
    )
    sync_early_rows: int = Field(
        default=5_000, ge=1, alias="SYNC_EARLY_ROWS", description="Waiting changes that start a sync before its time."
    )
    sync_early_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        alias="SYNC_EARLY_BYTES",
        description="Bytes of waiting bodies that start a sync before its time.",
    )
    bigquery_endpoint: str = Field(
        default="",
        alias="BIGQUERY_ENDPOINT",
        description="REST address of an emulator. Empty means Google's service when `BIGQUERY_PROJECT_ID` is set, "
        "else the local emulator on `LOCAL_BIGQUERY_PORT`.",
    )

    bigquery_read_endpoint: str = Field(
        default="",
        alias="BIGQUERY_READ_ENDPOINT",
        description="gRPC address `host:port` of the emulator that `BIGQUERY_ENDPOINT` names, for restores. Empty "
        "means `LOCAL_BIGQUERY_GRPC_PORT` on that emulator's host; Google's service has its own.",
    )

    content_max_body_bytes: int = Field(
        default=10 * 1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        alias="CONTENT_MAX_BODY_BYTES",
        description="Bytes that one body may have; a larger one is refused before anything is written.",
    )
    migration_batch_size: int = Field(
        default=100, ge=1, le=1000, alias="MIGRATION_BATCH_SIZE", description="Legacy rows in one migration batch."
    )

    drill_database_url: SecretStr = Field(
        default=SecretStr(""),
        alias="DRILL_DATABASE_URL",
        description="PostgreSQL database in which disaster drills work; everything in it is theirs to destroy. Empty "
        "means database `content_drill` of the local server; it is created where it is missing.",
    )
    drill_zerodb_project_id: str = Field(
        default="drill",
        min_length=1,
        alias="DRILL_ZERODB_PROJECT_ID",
        description="ZeroDB project in which drills work, on the server of `API_BASE_URL`. Never the live one.",
    )
    drill_bigquery_dataset: str = Field(
        default="content_drill",
        pattern=r"^[A-Za-z0-9_]{1,1024}$",
        alias="DRILL_BIGQUERY_DATASET",
        description="Dataset in which drills work, in `BIGQUERY_PROJECT_ID`. Created and removed by each drill.",
    )
    drill_items: int = Field(
        default=200,
        ge=100,
        le=1_000_000,
        alias="DRILL_ITEMS",
        description="Content items that a drill generates, loses and brings back.",
    )

    notify_urls: SecretStr = Field(
        default=SecretStr(""),
        alias="NOTIFY_URLS",
        description="Where quota notices go: URLs of apprise separated by blanks, one recipient each "
        "(`mailtos://…`, `slack://…`, `workflows://…` for Teams). Empty means the file `notices.jsonl` in "
        "`LOCAL_STATE_DIR`.",
    )
    notify_schemes: str = Field(
        default="mailto mailtos slack workflow workflows",
        pattern=r"^[a-z0-9]+( [a-z0-9]+)*$",
        alias="NOTIFY_SCHEMES",
        description="Schemes that `NOTIFY_URLS` may have, separated by blanks.",
    )

    integrity_max_bytes: int = Field(
        default=10 * 1024**3,
        ge=10 * 1024**2,
        alias="INTEGRITY_MAX_BYTES",
        description="Bytes that one comparison may have BigQuery read; one whose dry run says more refuses before it "
        "begins. The hourly tier reads about 200 a row of history and query, the deep tier whole payloads and bodies.",
    )
    scrub_days: int = Field(
        default=7,
        ge=1,
        le=365,
        alias="SCRUB_DAYS",
        description="Days within which every stored body and payload is read and hashed again, a share at a time.",
    )

    report_dir: Path | None = Field(
        default=None,
        alias="REPORT_DIR",
        description="Folder of the JSON reports that jobs write beside their metadata. Empty means `reports` in "
        "`LOCAL_STATE_DIR`.",
    )
    local_state_dir: Path = Field(
        default=PROJECT_ROOT / ".local",
        alias="LOCAL_STATE_DIR",
        description="Folder of everything that the local stack writes. Relative paths start at the project.",
    )
    local_postgres_port: int = Field(
        default=54329, ge=1, le=65535, alias="LOCAL_POSTGRES_PORT", description="Port of the local PostgreSQL."
    )
    local_zerodb_port: int = Field(
        default=9070, ge=1, le=65535, alias="LOCAL_ZERODB_PORT", description="Port of the local ZeroDB server."
    )
    local_bigquery_port: int = Field(
        default=9050,
        ge=1,
        le=65535,
        alias="LOCAL_BIGQUERY_PORT",
        description="REST port of the local BigQuery emulator.",
    )
    local_bigquery_grpc_port: int = Field(
        default=9060, ge=1, le=65535, alias="LOCAL_BIGQUERY_GRPC_PORT", description="gRPC port of the same emulator."
    )
    dagster_ui_port: int = Field(
        default=3000,
        ge=1,
        le=65535,
        alias="DAGSTER_UI_PORT",
        description="Port of the Dagster UI that `make up` serves.",
    )

    @field_validator("local_state_dir", "report_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value if value is None or value.is_absolute() else PROJECT_ROOT / value

    @field_validator("database_public_url", "dagster_pg_url", "drill_database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and urlsplit(text).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must begin with postgresql:// (user:password@host:port/database)")
        try:
            urlsplit(text).port  # noqa: B018  (raises for what is no port)
        except ValueError:
            raise ValueError(
                "has a port that is not a number from 0 to 65535: write postgresql://user:password@host:port/database, "
                "with : / ? # @ in the password percent-encoded"
            ) from None
        return value

    @field_validator("api_base_url", "bigquery_endpoint")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _notices_go_where_they_may(self) -> Self:
        for url in self.notify_urls.get_secret_value().split():
            scheme = url.partition("://")[0] if "://" in url else ""
            if scheme not in self.notify_schemes.split():
                hint = "; Teams retired msteams://, use workflows://" if scheme == "msteams" else ""
                shown = f"the scheme {scheme!r}" if scheme.isalnum() else "no scheme"
                raise ValueError(
                    f"NOTIFY_URLS has a URL with {shown}; NOTIFY_SCHEMES allows {self.notify_schemes}{hint}"
                )
        return self

    @field_validator("bigquery_sync_interval_minutes")
    @classmethod
    def _divides_the_hour(cls, value: int) -> int:
        if value < 1 or 60 % value:
            raise ValueError(
                "must divide 60 (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60), so that cron steps stay even"
            )
        return value

    @model_validator(mode="after")
    def _production_needs_secrets(self) -> Self:
        if not _is_loopback(self.api_base_url) and not self.zerodb_api_key.get_secret_value():
            raise ValueError(
                f"ZERODB_API_KEY is empty but API_BASE_URL is {self.api_base_url}, which is not this machine: "
                "set ZERODB_API_KEY to the project's key, or unset API_BASE_URL to use the local server"
            )
        url = self.database_public_url.get_secret_value()
        if not _is_loopback(url) and not urlsplit(url).password and "PGPASSWORD" not in os.environ:
            raise ValueError(
                "DATABASE_PUBLIC_URL names a server that is not this machine but carries no password: "
                "write postgresql://user:password@host:port/database, or set PGPASSWORD"
            )
        return self

    @property
    def database_url(self) -> str:
        """Where the platform's PostgreSQL is, the local server by default. Carries the password: never log it."""
        return self.database_public_url.get_secret_value() or (
            f"postgresql://postgres@127.0.0.1:{self.local_postgres_port}/content"
        )

    @property
    def dagster_database_url(self) -> str:
        """Where Dagster's own storage is, the local server by default. Carries the password: never log it."""
        return self.dagster_pg_url.get_secret_value() or (
            f"postgresql://postgres@127.0.0.1:{self.local_postgres_port}/dagster"
        )

    @property
    def drill_database(self) -> str:
        """Where drills work, a database of the local server by default. Carries the password: never log it."""
        return self.drill_database_url.get_secret_value() or (
            f"postgresql://postgres@127.0.0.1:{self.local_postgres_port}/content_drill"
        )

    @property
    def reports(self) -> Path:
        """Folder of the JSON reports."""
        return self.report_dir or self.local_state_dir / "reports"

    @property
    def zerodb_url(self) -> str:
        """Base URL of ZeroDB's API without a trailing slash."""
        return self.api_base_url or f"http://127.0.0.1:{self.local_zerodb_port}/api/v1"

    @property
    def zerodb_key(self) -> str:
        """The ZeroDB key; the local server's well-known one where none is set. Never log it."""
        return self.zerodb_api_key.get_secret_value() or LOCAL_KEY

    @property
    def sync_cron(self) -> str:
        """The cron schedule of replication."""
        minutes = self.bigquery_sync_interval_minutes
        return "0 * * * *" if minutes == 60 else f"*/{minutes} * * * *"

    @property
    def bigquery_project(self) -> str:
        """The Google Cloud project; the emulator's where none is set."""
        return self.bigquery_project_id or "local-project"

    @property
    def bigquery_url(self) -> str | None:
        """REST address of the emulator, or None for Google's service."""
        if self.bigquery_endpoint:
            return self.bigquery_endpoint
        return None if self.bigquery_project_id else f"http://127.0.0.1:{self.local_bigquery_port}"

    @property
    def bigquery_read_address(self) -> str | None:
        """gRPC address of the emulator, or None for Google's service."""
        if self.bigquery_url is None:
            return None
        host = urlsplit(self.bigquery_url).hostname or "127.0.0.1"
        return self.bigquery_read_endpoint or f"{host}:{self.local_bigquery_grpc_port}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The environment, read and checked once a process."""
    return Settings()


def variables_table() -> str:
    """A Markdown table of every variable, for the README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for field in Settings.model_fields.values():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        if isinstance(default, Path):
            default = default.relative_to(PROJECT_ROOT)
        shown = (
            f"`{str(default).lower() if isinstance(default, bool) else default}`"
            if default not in ("", None)
            else "(empty)"
        )
        lines.append(f"| `{field.alias}` | {shown} | {field.description} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(variables_table())  # noqa: T201  (a generator's output)
