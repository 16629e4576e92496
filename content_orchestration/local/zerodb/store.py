"""The documents on disk: one SQLite file in WAL mode, one writer, several readers. Knows nothing of HTTP.

Each collection is an SQLite table of its own, so that its indexes are its own and dropping it is one statement. Methods
block and are called from threads. A method that returns has committed: `synchronous=FULL` makes SQLite fsync the WAL at
each commit, where NORMAL would lose the last commits in a power cut.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from content_orchestration.local.zerodb import catalog
from content_orchestration.local.zerodb.catalog import Table, TableExistsError
from content_orchestration.local.zerodb.documents import Document, document, dump, parse
from content_orchestration.local.zerodb.filters import Fragment, extract_sql, register

READERS = 4
FORMAT = 1
"""The layout of the file, kept in its `user_version`."""
_BUSY_SECONDS = 30.0
_MAX_OFFSET = 2**63 - 1

# The document comes last: SQLite reaches the columns before it without walking a large one's overflow pages.
_ROWS = """
CREATE TABLE {rows} (
    seq INTEGER PRIMARY KEY,
    doc_id,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    doc TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row. `doc` is the document's text in UTF-8; times are ISO 8601 in UTC."""

    row_id: str
    doc: bytes
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did. `upserted_id` is the new row's id where nothing matched and one was asked for."""

    matched: int
    modified: int
    upserted_id: str | None = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Store:
    """The file and its connections. Raises `sqlite3.Error` where the path cannot hold a database of this format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        self._writer = self._connect()
        found = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            self._writer.close()
            raise sqlite3.DatabaseError(f"{path} has format {found}, this program writes format {FORMAT}")
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute(catalog.SCHEMA)
        self._writer.execute(f"PRAGMA user_version = {FORMAT}")
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(self._connect())

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute("PRAGMA temp_store = MEMORY")
        # After a burst SQLite keeps the WAL at its largest size; this gives what is above 64 MB back to the disk.
        connection.execute("PRAGMA journal_size_limit = 67108864")
        register(connection)
        return connection

    def close(self) -> None:
        """Closes every connection, readers first: the last one to close folds the WAL into the file."""
        for _ in range(READERS):
            self._readers.get().close()
        with self._writing:
            self._writer.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        connection = self._readers.get()
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._readers.put(connection)

    def tables(self, project: str) -> list[Table]:
        """The project's tables by name."""
        with self._read() as connection:
            return catalog.find(connection, project)

    def table(self, project: str, name: str) -> Table:
        """One table. Raises `NoSuchTableError`."""
        with self._read() as connection:
            return catalog.lookup(connection, project, name)

    def create(self, project: str, name: str, definition: dict[str, Any], indexes: Sequence[str]) -> Table:
        """A new table with an index for each plainly named field of `indexes`. Raises `TableExistsError`."""
        with self._write() as connection:
            if catalog.find(connection, project, name):
                raise TableExistsError(name)
            connection.execute(
                "INSERT INTO catalog (project, name, definition, indexes, created_at) VALUES (?, ?, ?, ?, ?)",
                (project, name, dump(definition), dump(list(indexes)), _now()),
            )
            table = catalog.lookup(connection, project, name)
            connection.execute(_ROWS.format(rows=table.rows))
            connection.execute(f"CREATE INDEX {table.rows}_id ON {table.rows} (doc_id)")
            wanted = dict.fromkeys(extract_sql(index) for index in indexes if index != "id")
            for number, expression in enumerate(expression for expression in wanted if expression):
                connection.execute(f"CREATE INDEX {table.rows}_{number} ON {table.rows} ({expression})")
            return table

    def drop(self, project: str, name: str) -> None:
        """Removes a table and its rows. Raises `NoSuchTableError`."""
        with self._write() as connection:
            table = catalog.lookup(connection, project, name)
            connection.execute(f"DROP TABLE {table.rows}")
            connection.execute("DELETE FROM catalog WHERE table_no = ?", (table.table_no,))

    def insert(self, project: str, name: str, documents: Sequence[Document]) -> list[str]:
        """Adds every document as a row of its own, all or none, and returns the row ids. Raises `NoSuchTableError`."""
        with self._write() as connection:
            table = catalog.lookup(connection, project, name)
            return _insert(connection, table, documents)

    def update(
        self,
        project: str,
        name: str,
        condition: Fragment,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        seed: Callable[[], dict[str, Any]] | None = None,
    ) -> Updated:
        """Changes every row that matches, all or none; where none does, changes and inserts `seed()` if given.

        Raises `NoSuchTableError`, and what `change` and `seed` raise.
        """
        with self._write() as connection:
            table = catalog.lookup(connection, project, name)
            found = connection.execute(f"SELECT seq FROM {table.rows} WHERE {condition.sql}", condition.params)  # noqa: S608
            seqs = [seq for (seq,) in found]
            if not seqs and seed is not None:
                made = change(seed())
                (row_id,) = _insert(connection, table, [document(dump(made), made)])
                return Updated(0, 0, row_id)
            modified = 0
            now = _now()
            for seq in seqs:
                (text,) = connection.execute(f"SELECT doc FROM {table.rows} WHERE seq = ?", (seq,)).fetchone()  # noqa: S608
                before = parse(text)
                after = change(before)
                if dump(after) == dump(before):
                    continue
                changed = document(dump(after), after)
                connection.execute(
                    f"UPDATE {table.rows} SET doc_id = ?, doc = ?, updated_at = ? WHERE seq = ?",  # noqa: S608
                    (changed.doc_id, changed.text, now, seq),
                )
                modified += 1
            return Updated(len(seqs), modified)

    def delete(self, project: str, name: str, condition: Fragment, limit: int) -> int:
        """Deletes the rows that match, oldest first, `limit` at most (0: all). Raises `NoSuchTableError`."""
        with self._write() as connection:
            table = catalog.lookup(connection, project, name)
            deleted = connection.execute(
                f"DELETE FROM {table.rows} WHERE seq IN "  # noqa: S608
                f"(SELECT seq FROM {table.rows} WHERE {condition.sql} ORDER BY seq LIMIT ?)",
                (*condition.params, min(limit, _MAX_OFFSET) or -1),
            ).rowcount
            connection.execute(
                "UPDATE catalog SET row_count = row_count - ? WHERE table_no = ?", (deleted, table.table_no)
            )
            return deleted

    def query(
        self, project: str, name: str, condition: Fragment, order: Fragment, limit: int, offset: int
    ) -> tuple[list[Row], int]:
        """A page of rows and how many match in all, both as of one moment. Raises `NoSuchTableError`."""
        with self._read() as connection:
            table = catalog.lookup(connection, project, name)
            rows: list[Row] = []
            if limit:
                found = connection.execute(
                    page_sql(table, condition, order),
                    (*condition.params, *order.params, limit, min(offset, _MAX_OFFSET)),
                )
                rows = [Row(table.row_id(seq), doc, created, updated) for seq, created, updated, doc in found]
            if rows and len(rows) < limit:
                return rows, offset + len(rows)  # the last page: no need to count
            sql = f"SELECT count(*) FROM {table.rows} WHERE {condition.sql}"  # noqa: S608
            return rows, connection.execute(sql, condition.params).fetchone()[0]

    def plan(self, project: str, name: str, condition: Fragment, order: Fragment) -> str:
        """How SQLite would find a page, for tests that an index is used. Raises `NoSuchTableError`."""
        with self._read() as connection:
            sql = page_sql(catalog.lookup(connection, project, name), condition, order)
            found = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (*condition.params, *order.params, 1000, 0))
            return "; ".join(step[3] for step in found)


def page_sql(table: Table, condition: Fragment, order: Fragment) -> str:
    """The statement of one page. Documents come as bytes: they go into the answer as they are."""
    return (
        f"SELECT seq, created_at, updated_at, CAST(doc AS BLOB) FROM {table.rows} "  # noqa: S608
        f"WHERE {condition.sql} ORDER BY {order.sql} LIMIT ? OFFSET ?"
    )


def _insert(connection: sqlite3.Connection, table: Table, documents: Sequence[Document]) -> list[str]:
    now = _now()
    seqs = range(table.next_seq, table.next_seq + len(documents))
    connection.executemany(
        f"INSERT INTO {table.rows} (seq, doc_id, created_at, updated_at, doc) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(seq, new.doc_id, now, now, new.text) for seq, new in zip(seqs, documents, strict=True)],
    )
    connection.execute(
        "UPDATE catalog SET row_count = row_count + ?, next_seq = ? WHERE table_no = ?",
        (len(documents), seqs.stop, table.table_no),
    )
    return [table.row_id(seq) for seq in seqs]
