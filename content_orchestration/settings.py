"""Every environment variable of the project: its name, type, default, unit and meaning.

The README's table is generated from this file (`python -m content_orchestration.settings`). Nothing else reads the
environment. The defaults describe the local stack; production sets endpoints and credentials.
"""

import os
import re
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

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

    celery_redis_url: SecretStr = Field(
        default=SecretStr(""),
        alias="CELERY_REDIS_URL",
        description="Redis of the Celery profile, broker and results: `redis://:password@host:6379/0`. Only "
        "`deploy/celery/dagster.yaml` reads it.",
    )
    backfill_tenants_per_run: int = Field(
        default=0,
        ge=0,
        alias="BACKFILL_TENANTS_PER_RUN",
        description="Tenants that one run of a backfill into BigQuery takes. 0 means all in one run, quickest on one "
        "machine; 1 spreads a backfill over Celery's workers or Kubernetes' pods.",
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

    generation_providers: str = Field(
        default="template",
        pattern=r"^(template|(openai|anthropic):[^\s,]+)( (template|(openai|anthropic):[^\s,]+))*$",
        alias="GENERATION_PROVIDERS",
        description="Who writes texts, separated by blanks, the preferred one first: `openai:MODEL`, `anthropic:MODEL` "
        "or `template`, the local one that puts fixed sentences together and needs no key.",
    )
    generation_timeout: float = Field(
        default=180,
        gt=0,
        le=1800,
        alias="GENERATION_TIMEOUT",
        description="Seconds that the providers' calls for one item may take together; each gets an equal share of "
        "what is left.",
    )
    generation_rate_patience: float = Field(
        default=120,
        ge=0,
        le=3600,
        alias="GENERATION_RATE_PATIENCE",
        description="Seconds that a worker waits for the rate limit of the last provider in the order before it puts "
        "the item back; for those before it, 5.",
    )
    generation_requests_per_minute: int = Field(
        default=0,
        ge=0,
        le=100_000,
        alias="GENERATION_REQUESTS_PER_MINUTE",
        description="Most calls a minute that one process makes with one key of a provider. 0 means as many as the "
        "provider's own answers allow.",
    )
    generation_answer_limit: int = Field(
        default=16_000,
        ge=256,
        le=128_000,
        alias="GENERATION_ANSWER_LIMIT",
        description="Most tokens of one answer, a model's thinking included; 5,000 words take about 8,000.",
    )
    generation_prices: str = Field(
        default="",
        pattern=r"^([^\s=]+=\d+(\.\d+)?/\d+(\.\d+)?( |$))*$",
        alias="GENERATION_PRICES",
        description="Prices of models that the price table does not know or has wrong, separated by blanks: "
        "`MODEL=INPUT/OUTPUT` in US dollars for a million tokens. A model without a price is refused.",
    )
    openai_api_key: SecretStr = Field(
        default=SecretStr(""),
        alias="OPENAI_API_KEY",
        description="The platform's key for `openai`, for tenants that brought none.",
    )
    openai_base_url: str = Field(
        default="", alias="OPENAI_BASE_URL", description="Base URL of `openai`, version included. Empty means OpenAI's."
    )
    anthropic_api_key: SecretStr = Field(
        default=SecretStr(""),
        alias="ANTHROPIC_API_KEY",
        description="The platform's key for `anthropic`, for tenants that brought none.",
    )
    anthropic_base_url: str = Field(
        default="", alias="ANTHROPIC_BASE_URL", description="Base URL of `anthropic`. Empty means Anthropic's."
    )
    provider_master_key: SecretStr = Field(
        default=SecretStr(""),
        alias="PROVIDER_MASTER_KEY",
        description="Master keys of the tenants' own keys, `id:base64` of 32 bytes, the current one first, older ones "
        "behind it. Empty means that tenants bring no keys.",
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

    docs_url: str = Field(
        default="",
        alias="DOCS_URL",
        description="Address of the folder `docs` as people open it, for links of the health page and of alerts. Empty "
        "means that they name the path in the repository.",
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

    generation_lease_seconds: float = Field(
        default=30,
        ge=1,
        le=3600,
        alias="GENERATION_LEASE_SECONDS",
        description="Seconds after which the items of a silent worker are taken back; heartbeats come three times as "
        "often.",
    )
    generation_history_days: int = Field(
        default=90,
        ge=2,
        le=3650,
        alias="GENERATION_HISTORY_DAYS",
        description="Days for which finished generation items and their provider calls are kept in the history.",
    )
    generation_workers: int = Field(
        default=10,
        ge=1,
        le=10,
        alias="GENERATION_WORKERS",
        description="Items of a batch that one run works at once. The queue allows a batch ten, whatever its runs.",
    )

    storage_url: str = Field(
        default="",
        alias="STORAGE_URL",
        description="Where files are stored: `s3://`, `gs://` or `az://` for a bucket a tenant, with a bucket and path "
        "for a prefix a tenant in it, or `file:///folder`. Empty means the folder `media` in `LOCAL_STATE_DIR`.",
    )
    storage_endpoint: str = Field(
        default="",
        alias="STORAGE_ENDPOINT",
        description="Address of a store that is not Amazon's, Google's or Azure's own, for example "
        "`https://<project>.supabase.co/storage/v1/s3`.",
    )
    storage_region: str = Field(default="", alias="STORAGE_REGION", description="Region of an S3 bucket.")
    storage_access_key_id: SecretStr = Field(
        default=SecretStr(""),
        alias="STORAGE_ACCESS_KEY_ID",
        description="S3 access key, or name of the Azure storage account. Google's credentials are the file that "
        "`GOOGLE_APPLICATION_CREDENTIALS` names.",
    )
    storage_secret_access_key: SecretStr = Field(
        default=SecretStr(""),
        alias="STORAGE_SECRET_ACCESS_KEY",
        description="The secret of `STORAGE_ACCESS_KEY_ID`.",
    )
    storage_bucket_prefix: str = Field(
        default="tenant-",
        pattern=r"^[a-z0-9][a-z0-9-]{0,25}$",
        alias="STORAGE_BUCKET_PREFIX",
        description="What a tenant's bucket or prefix begins with; the tenant's id follows.",
    )
    storage_max_file_size: int = Field(
        default=100 * 1024 * 1024,
        ge=1,
        le=5 * 1024**3,
        alias="STORAGE_MAX_FILE_SIZE",
        description="Bytes that one file may have; a larger one is refused while it is read, and nothing is stored.",
    )
    storage_download_seconds: float = Field(
        default=120,
        gt=0,
        alias="STORAGE_DOWNLOAD_SECONDS",
        description="Seconds that one download may take, from the first look-up of the name to the last byte.",
    )
    storage_signed_url_seconds: int = Field(
        default=300,
        ge=1,
        le=3600,
        alias="STORAGE_SIGNED_URL_SECONDS",
        description="Seconds that a signed address of a file lives.",
    )
    enable_duplicate_detection: bool = Field(
        default=True,
        alias="ENABLE_DUPLICATE_DETECTION",
        description="Store equal files of a tenant once and count them once, and mark images that look alike. `false` "
        "stores each row's file under a key of its own.",
    )

    platform_profile: Literal["production", "testing"] = Field(
        default="production",
        alias="PLATFORM_PROFILE",
        description="`testing` allows renders to be cleaned up within minutes and without a grace period, and makes "
        "that the default: 3 minutes, every 3 minutes. Never for a platform that people use.",
    )
    orphan_min_age_minutes: int = Field(
        default=60,
        ge=3,
        le=525_600,
        alias="ORPHAN_MIN_AGE_MINUTES",
        description="Minutes since a render was completed after which it is an orphan if nobody saved it; at least "
        "60 outside of the testing profile.",
    )
    orphan_cleanup_interval_minutes: int = Field(
        default=60,
        ge=3,
        le=60,
        alias="ORPHAN_CLEANUP_INTERVAL_MINUTES",
        description="Minutes between two cleanups of orphaned renders; a divisor of 60, at least 15 outside of the "
        "testing profile.",
    )
    orphan_quarantine_hours: int = Field(
        default=24,
        ge=0,
        le=8_760,
        alias="ORPHAN_QUARANTINE_HOURS",
        description="Hours for which an orphan's file waits in quarantine, where a save brings it back; 0 is for the "
        "testing profile only.",
    )
    cleanup_max_candidate_percent: float = Field(
        default=1.0,
        gt=0,
        le=100,
        alias="CLEANUP_MAX_CANDIDATE_PERCENT",
        description="Percent of all objects that may be candidates of one cleanup; with more, and more than 1,000, it "
        "stops before it removes anything.",
    )
    compaction_max_bytes: int = Field(
        default=1024**4,
        ge=10 * 1024**2,
        alias="COMPACTION_MAX_BYTES",
        description="Bytes that one compaction may have BigQuery read of one history table, by its dry runs. It reads "
        "the table once, payloads and bodies too, and every partition that it rewrites three times: a month's bill.",
    )
    cleanup_never_delete_tenants: str = Field(
        default="",
        alias="CLEANUP_NEVER_DELETE_TENANTS",
        description="Ids of tenants of whom cleanup removes nothing, with blanks between.",
    )
    cleanup_never_delete_prefixes: str = Field(
        default="",
        alias="CLEANUP_NEVER_DELETE_PREFIXES",
        description="Places in which cleanup removes nothing, each `bucket` or `bucket/prefix`, with blanks between.",
    )
    render_buckets: str = Field(
        default="renders",
        min_length=1,
        alias="RENDER_BUCKETS",
        description="Where the platform's renders are, each `bucket` or `bucket/prefix`, with blanks between; "
        "`{tenant}` and `{user}` stand for the ids of whom a render belongs to. A render elsewhere is never touched.",
    )
    render_hosts: str = Field(
        default="storage.platform.example",
        alias="RENDER_HOSTS",
        description="Hosts whose signed and public addresses name those buckets, with blanks between, beside the host "
        "of `STORAGE_ENDPOINT`. The default is the demo's.",
    )

    report_dir: Path | None = Field(
        default=None,
        alias="REPORT_DIR",
        description="Folder of the JSON reports that jobs write beside their metadata. Empty means `reports` in "
        "`LOCAL_STATE_DIR`.",
    )
    media_variant_sizes: str = Field(
        default="150,400,800,1200",
        pattern=r"^\s*\d{2,4}(\s*,\s*\d{2,4})*\s*$",
        alias="MEDIA_VARIANT_SIZES",
        description="Widths in pixels of a picture's variants, from 16 to 8192, separated by commas. None is wider "
        "than the picture.",
    )
    media_jpeg_quality: int = Field(
        default=85,
        ge=1,
        le=100,
        alias="MEDIA_JPEG_QUALITY",
        description="Quality of variants, as JPEG and, where they are transparent, as WebP.",
    )
    media_max_pixels: int = Field(
        default=120_000_000,
        ge=1_000_000,
        le=1_000_000_000,
        alias="MEDIA_MAX_PIXELS",
        description="Pixels that a picture may have; one whose header claims more is refused before it is decoded.",
    )
    media_max_frames: int = Field(
        default=1_000, ge=1, le=100_000, alias="MEDIA_MAX_FRAMES", description="Frames that an animation may have."
    )
    media_memory_mib: int = Field(
        default=512,
        ge=128,
        le=65_536,
        alias="MEDIA_MEMORY_MIB",
        description="MiB that the process which decodes pictures may hold; a picture that needs more is marked failed.",
    )
    media_timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=3600,
        alias="MEDIA_TIMEOUT_SECONDS",
        description="Seconds that decoding one picture and making its variants may take.",
    )
    media_decode_threads: int = Field(
        default=1,
        ge=1,
        le=64,
        alias="MEDIA_DECODE_THREADS",
        description="Threads of libvips in that process. More make one picture faster and many pictures slower.",
    )
    enable_metadata_extraction: bool = Field(
        default=True,
        alias="ENABLE_METADATA_EXTRACTION",
        description="`false` keeps size, format and dimensions of files only: no durations, dates or colours.",
    )
    enable_ai_tagging: bool = Field(
        default=True,
        alias="ENABLE_AI_TAGGING",
        description="`false` leaves files without tags. Otherwise a vision model tags pictures where the key of its "
        "provider is set, and the local tagger where none is.",
    )
    media_vision_model: str = Field(
        default="openai:gpt-4.1-mini",
        pattern=r"^((openai|anthropic):[^\s:]+)?$",
        alias="MEDIA_VISION_MODEL",
        description="Who tags pictures, `openai:MODEL` or `anthropic:MODEL`; it is sent an 800-pixel variant. Empty "
        "means the local tagger, whatever keys there are.",
    )
    media_vision_timeout: float = Field(
        default=60, gt=0, le=600, alias="MEDIA_VISION_TIMEOUT", description="Seconds that tagging one picture may take."
    )

    maintenance_budget_minutes: float = Field(
        default=30,
        gt=0,
        le=1440,
        alias="MAINTENANCE_BUDGET_MINUTES",
        description="Minutes that one pass of VACUUM or REINDEX may take; what does not fit waits for the next pass.",
    )
    maintenance_lock_seconds: float = Field(
        default=5,
        gt=0,
        le=300,
        alias="MAINTENANCE_LOCK_SECONDS",
        description="Seconds that a step of maintenance waits for a lock on its table before it leaves it for later.",
    )
    backup_url: str = Field(
        default="",
        alias="BACKUP_URL",
        description="Where full dumps of the database go: `s3://bucket/path`, `gs://`, `az://` or `file:///folder`, "
        "with the endpoint and keys of `STORAGE_URL`. Empty means the folder `backups` in `LOCAL_STATE_DIR`, for a "
        "database on this machine only.",
    )
    backup_keep: int = Field(
        default=5,
        ge=1,
        le=1000,
        alias="BACKUP_KEEP",
        description="Verified backups that are kept whatever their age.",
    )
    backup_keep_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        alias="BACKUP_KEEP_DAYS",
        description="Days for which every other backup is kept.",
    )
    postgres_programs: Path | None = Field(
        default=None,
        alias="POSTGRES_PROGRAMS",
        description="Folder of pg_dump and pg_restore, of the server's version or newer. Empty means those on PATH, "
        "and those of the local stack, whichever fits the server.",
    )
    dagster_run_retention_days: int = Field(
        default=30,
        ge=2,
        le=3650,
        alias="DAGSTER_RUN_RETENTION_DAYS",
        description="Days for which Dagster's ended runs with their events and logs are kept. A run with the latest "
        "state of an asset, a partition or a check is kept whatever its age.",
    )
    dagster_retention_budget_minutes: float = Field(
        default=15,
        gt=0,
        le=1440,
        alias="DAGSTER_RETENTION_BUDGET_MINUTES",
        description="Minutes that one pass over Dagster's old runs may take; the next one goes on.",
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
        # libpq quotes what it cannot read of an address, with the password in it.
        if "@" in urlsplit(text).netloc.rpartition("@")[0] or re.search(r"%(?![0-9A-Fa-f]{2})|\s", text):
            raise ValueError(
                "has an @, a % or a blank in the user or password as it is: write it percent-encoded (%40, %25, %20)"
            )
        return value

    @field_validator(
        "api_base_url", "bigquery_endpoint", "openai_base_url", "anthropic_base_url", "storage_endpoint", "docs_url"
    )
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        if "@" in urlsplit(value).netloc:
            raise ValueError("must carry no user and no password: keys have variables of their own")
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

    @field_validator("storage_url", "backup_url")
    @classmethod
    def _storage_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme not in {"file", "s3", "gs", "az"}:
            raise ValueError("must begin with s3://, gs://, az:// or file:///")
        if value and (parts.username or parts.password or parts.query or parts.fragment):
            raise ValueError("must be scheme://bucket/path only: credentials have variables of their own")
        if value and parts.scheme == "file" and (parts.netloc or not parts.path.strip("/")):
            raise ValueError("must name a folder with three slashes, file:///folder")
        return value.rstrip("/") if parts.netloc else value

    @field_validator("media_variant_sizes")
    @classmethod
    def _drawable_widths(cls, value: str) -> str:
        if any(not 16 <= int(size) <= 8_192 for size in value.split(",")):
            raise ValueError("must be widths in pixels from 16 to 8192, such as 150,400,800,1200")
        return value

    @field_validator("bigquery_sync_interval_minutes")
    @classmethod
    def _divides_the_hour(cls, value: int) -> int:
        if value < 1 or 60 % value:
            raise ValueError(
                "must divide 60 (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60), so that cron steps stay even"
            )
        return value

    @field_validator("cleanup_never_delete_tenants")
    @classmethod
    def _tenant_ids(cls, value: str) -> str:
        for text in value.split():
            try:
                UUID(text)
            except ValueError:
                raise ValueError(f"has {text[:40]!r}, which is no id of a tenant") from None
        return value

    @model_validator(mode="after")
    def _renders_are_given_time(self) -> Self:
        if 60 % self.orphan_cleanup_interval_minutes:
            raise ValueError("ORPHAN_CLEANUP_INTERVAL_MINUTES must divide 60: 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60")
        if self.platform_profile != "testing" and (
            self.orphan_min_age_minutes < 60
            or self.orphan_cleanup_interval_minutes < 15
            or self.orphan_quarantine_hours < 1
        ):
            raise ValueError(
                "ORPHAN_MIN_AGE_MINUTES below 60, ORPHAN_CLEANUP_INTERVAL_MINUTES below 15 and ORPHAN_QUARANTINE_HOURS "
                "of 0 are for PLATFORM_PROFILE=testing only: people save what they rendered minutes ago"
            )
        return self

    @model_validator(mode="after")
    def _production_needs_secrets(self) -> Self:
        if not _is_loopback(self.api_base_url) and not self.zerodb_api_key.get_secret_value():
            raise ValueError(
                f"ZERODB_API_KEY is empty but API_BASE_URL is {self.api_base_url}, which is not this machine: "
                "set ZERODB_API_KEY to the project's key, or unset API_BASE_URL to use the local server"
            )
        if bool(self.storage_access_key_id.get_secret_value()) != bool(
            self.storage_secret_access_key.get_secret_value()
        ):
            raise ValueError("STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY go together: set both or neither")
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
    def generation_chain(self) -> tuple[tuple[str, str], ...]:
        """Names of providers with their models in the order of preference; the template provider's model is empty."""
        return tuple((name, model) for name, _, model in (p.partition(":") for p in self.generation_providers.split()))

    def provider_key(self, provider: str) -> SecretStr:
        """The platform's key for a provider, empty where none is set."""
        return {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key}[provider]

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
    def orphan_minimum_age(self) -> timedelta:
        """How old a render is before it can be an orphan."""
        return timedelta(minutes=self._in_testing("orphan_min_age_minutes", self.orphan_min_age_minutes))

    @property
    def orphan_interval_minutes(self) -> int:
        """Minutes between two cleanups of renders."""
        return self._in_testing("orphan_cleanup_interval_minutes", self.orphan_cleanup_interval_minutes)

    @property
    def orphan_grace(self) -> timedelta:
        """How long an orphan waits in quarantine."""
        return timedelta(hours=self.orphan_quarantine_hours)

    @property
    def orphan_cron(self) -> str:
        """The cron schedule of cleaning up renders."""
        minutes = self.orphan_interval_minutes
        return "0 * * * *" if minutes == 60 else f"*/{minutes} * * * *"

    def _in_testing(self, field: str, value: int) -> int:
        return 3 if self.platform_profile == "testing" and field not in self.model_fields_set else value

    @property
    def sync_cron(self) -> str:
        """The cron schedule of replication."""
        minutes = self.bigquery_sync_interval_minutes
        return "0 * * * *" if minutes == 60 else f"*/{minutes} * * * *"

    @property
    def variant_widths(self) -> tuple[int, ...]:
        """Widths of variants in pixels, ascending, each once."""
        return tuple(sorted({int(size) for size in self.media_variant_sizes.split(",")}))

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
