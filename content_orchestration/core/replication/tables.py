"""The disaster-recovery tables: their columns, partitioning and keys, once, for BigQuery, Arrow and Parquet alike.

The rule for JSON: STRING, since the service does not load JSON from Parquet (googleapis/python-bigquery#1966).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["STRING", "INT64", "TIMESTAMP"]


@dataclass(frozen=True)
class Column:
    """A BigQuery column; the row of the extracting statement has an attribute of the same name."""

    name: str
    type: ColumnType
    description: str
    required: bool = False


@dataclass(frozen=True)
class TableSpec:
    """A table that this project owns in the dataset: append-only, partitioned by day of `synced_at`."""

    name: str
    description: str
    columns: tuple[Column, ...]
    clustering: tuple[str, ...] = ()
    partition_by: str = "synced_at"


@dataclass(frozen=True)
class Entity:
    """A replicated PostgreSQL table. `rows_sql` reads what a window changed."""

    name: str
    table: TableSpec
    rows_sql: str
    has_body: bool
    append_only: bool = False
    """Rows are inserted and nothing else: no tombstone is ever written, and no restore brings them back."""


_SYNC = (
    Column(
        "sync_id", "INT64", "The sync that wrote this row; grows with time, the greatest one of an id is current.", True
    ),
    Column("sync_part", "INT64", "Number of the load file within the sync, from 0.", True),
    Column("synced_at", "TIMESTAMP", "When that sync opened its window (UTC). Partition column.", True),
    Column("op", "STRING", "upsert, or delete for a tombstone that carries the last row.", True),
    Column("entity_id", "STRING", "Primary key of the row in PostgreSQL.", True),
    Column("tenant_id", "STRING", "Tenant of the row.", True),
)
_PAYLOAD = (
    Column("row_json", "STRING", "The row as PostgreSQL printed it under pinned settings; what a restore reads.", True),
    Column("row_sha256", "STRING", "SHA-256 of row_json in UTF-8, hexadecimal.", True),
)
_BODY = (
    Column(
        "body",
        "STRING",
        "The body that the row points to; NULL for a tombstone or where replication_quarantine says why.",
    ),
    Column("body_sha256", "STRING", "SHA-256 of the body in UTF-8, hexadecimal, as the row names it."),
)
_STORAGE = (
    Column("content_id", "STRING", "The content item."),
    Column("brand_id", "STRING", "Brand of the item."),
    Column("title", "STRING", "Title."),
    Column("content_type", "STRING", "article, post, email, image, video or document."),
    Column("status", "STRING", "draft, scheduled, published or archived."),
    Column("version", "INT64", "Version that the row pointed to."),
    Column("zerodb_row_id", "STRING", "Id of the body's document, <content_id>.v<version>."),
    Column("storage_size_bytes", "INT64", "Bytes of the body in UTF-8."),
    Column("source", "STRING", "Legacy row that the item came from, <table>:<id>."),
    Column("metadata", "STRING", "JSON text of the metadata column."),
    Column("created_at", "TIMESTAMP", "UTC; NULL where BigQuery cannot hold the value (row_json always does)."),
    Column("updated_at", "TIMESTAMP", "UTC; NULL where BigQuery cannot hold the value."),
    Column("deleted_at", "TIMESTAMP", "UTC; set on soft-deleted items."),
)
_VERSIONS = (
    Column("content_id", "STRING", "The content item."),
    Column("version", "INT64", "The version."),
    Column("zerodb_row_id", "STRING", "Id of the body's document."),
    Column("storage_size_bytes", "INT64", "Bytes of the body in UTF-8."),
    Column("changed_by", "STRING", "Who made the version."),
    Column("change_reason", "STRING", "Why."),
    Column("created_at", "TIMESTAMP", "UTC."),
)
_MEDIA = (
    Column("content_id", "STRING", "The item that names the file; NULL where none does."),
    Column("brand_id", "STRING", "Brand of the file."),
    Column("kind", "STRING", "image, video or document."),
    Column("url", "STRING", "Where the file is."),
    Column("mime_type", "STRING", "MIME type as recorded."),
    Column("size_bytes", "INT64", "Recorded size in bytes."),
    Column("sha256", "STRING", "SHA-256 of the file, once it was read."),
    Column("status", "STRING", "referenced, stored or failed."),
    Column("created_at", "TIMESTAMP", "UTC."),
    Column("updated_at", "TIMESTAMP", "UTC."),
    Column("deleted_at", "TIMESTAMP", "UTC; set on soft-deleted files."),
)
_AUDIT = (
    Column("audit_id", "INT64", "Number of the entry in its database; begins at 1 again in another one.", True),
    Column("at", "TIMESTAMP", "When it was done (UTC)."),
    Column("run_id", "STRING", "Dagster run, or the process, that did it."),
    Column("kind", "STRING", "What was cleaned: render, content, version, history, stray and others."),
    Column("action", "STRING", "What was done: quarantined, restored, deleted, refused and others."),
    Column("subject_id", "STRING", "Whom it was done to: the id of a render, an item, a document; a key of a file."),
    Column("location", "STRING", "Where the file was."),
    Column("size_bytes", "INT64", "Bytes that it had."),
    Column("reason", "STRING", "Why."),
    Column("predicate_version", "INT64", "Which version of the rule said so."),
    Column("quarantined_at", "TIMESTAMP", "When it had been quarantined (UTC)."),
    Column("detail", "STRING", "JSON text of the rest."),
)


def _entity(name: str, table: str, description: str, typed: tuple[Column, ...], *, has_body: bool) -> Entity:
    columns = _SYNC + typed + _PAYLOAD + (_BODY if has_body else ())
    spec = TableSpec(table, description, columns, clustering=("tenant_id", "content_id"))
    return Entity(name, spec, f"replication/rows_{name}", has_body)


CONTENT_STORAGE = _entity(
    "content_storage",
    "content_storage_dr",
    "Every state of every content item, with its body.",
    _STORAGE,
    has_body=True,
)
CONTENT_VERSIONS = _entity(
    "content_versions",
    "content_versions_dr",
    "Every version record, with the body of that version.",
    _VERSIONS,
    has_body=True,
)
CONTENT_MEDIA = _entity(
    "content_media", "content_media_dr", "Every state of every media reference.", _MEDIA, has_body=False
)
# Its rows of no tenant have the nil UUID in `tenant_id`; their `row_json` keeps the null.
CLEANUP_AUDIT = Entity(
    "cleanup_audit",
    TableSpec(
        "cleanup_audit_dr",
        "Every entry of the cleanup audit: what was quarantined, restored, deleted or refused, by which run and why.",
        _SYNC + _AUDIT + _PAYLOAD,
        clustering=("tenant_id", "kind"),
    ),
    "replication/rows_cleanup_audit",
    has_body=False,
    append_only=True,
)
# The order of loading: a crash between two tables leaves versions and media that no item names yet, never the reverse.
# These are the content: what snapshots, restores and drills are about.
ENTITIES: tuple[Entity, ...] = (CONTENT_VERSIONS, CONTENT_MEDIA, CONTENT_STORAGE)
# What windows carry and comparisons compare: the content, and what was done to it.
REPLICATED: tuple[Entity, ...] = (*ENTITIES, CLEANUP_AUDIT)

SYNC_LOG = TableSpec(
    "content_sync_log",
    "One row a closed sync; tells the same story as replication_windows in PostgreSQL.",
    (
        Column("sync_id", "INT64", "The sync.", True),
        Column("sync_part", "INT64", "Always 0.", True),
        Column("synced_at", "TIMESTAMP", "When the window was opened (UTC). Partition column.", True),
        Column("system_identifier", "STRING", "PostgreSQL cluster that the transaction ids belong to.", True),
        Column("low_xid", "INT64", "First transaction id of the window.", True),
        Column("high_xid", "INT64", "First transaction id after the window.", True),
        Column("changes", "INT64", "Entries of the change log in the window.", True),
        Column("rows_by_table", "STRING", "JSON object: rows that were loaded into each table.", True),
        Column("tombstones", "INT64", "Deletes among them.", True),
        Column("bytes_loaded", "INT64", "Bytes of Parquet that were loaded.", True),
        Column("oldest_change_at", "TIMESTAMP", "Time of the oldest change in the window (UTC)."),
        Column("heartbeat_at", "TIMESTAMP", "The latest heartbeat in the window (UTC): it travelled the whole path."),
        Column("run_id", "STRING", "Dagster run.", True),
        Column("read_until", "TIMESTAMP", "When every row of the sync had been read (UTC): nothing later is in it."),
    ),
)
TABLES: tuple[TableSpec, ...] = (*(entity.table for entity in REPLICATED), SYNC_LOG)


def view_name(table: str) -> str:
    """`content_storage_dr` → `content_storage_current`."""
    return table.removesuffix("_dr") + "_current"


def current_view(table: TableSpec, qualified_name: str) -> str:
    """The latest state of each id that is not deleted, as a view over the history. A duplicate load does not show."""
    names: Sequence[str] = [column.name for column in table.columns]
    listed = ", ".join(names)
    return (
        f"SELECT {listed} FROM (SELECT {listed}, ROW_NUMBER() OVER "  # noqa: S608  (names are constants of this file)
        f"(PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC) AS recency FROM `{qualified_name}`) "
        "WHERE recency = 1 AND op <> 'delete'"
    )
