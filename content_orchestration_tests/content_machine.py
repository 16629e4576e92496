"""Random operations on the content store against a reference dictionary, with ZeroDB failing and writers killed.

A killed writer is a forked process that gets SIGKILL at a named failpoint; what must be left then is known exactly.
"""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.errors import BodyUnavailable, ContentNotFound, InvalidContent, VersionConflict
from content_orchestration.core.content.model import Changes, NewContent
from content_orchestration.core.content.spill import drain, spill_state
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.integrity.bodies import scan_bodies
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.spill import compare_spill
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.upkeep import reap
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers

# Where a writer can be killed, and whether what it wrote stands.
KILLS = {
    "content_reserved": False,
    "content_documents_put": False,
    "content_rows_written": False,
    "content_committed": True,
}
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
TITLES = TEXTS.filter(lambda text: bool(text.strip()))
METADATA = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS, max_size=3)
FAULTS = ("rate_limit", "error", "error_after", "cut_before", "cut_after")


@dataclass(frozen=True)
class Known:
    """An item as it must be: its fields now, and the body of each of its versions."""

    title: str
    status: str
    metadata: dict[str, Any]
    bodies: tuple[str, ...]
    deleted: bool = False
    # Title, type and metadata of each version, which a rollback brings back with the body.
    snapshots: tuple[tuple[str, dict[str, Any]], ...] = field(default=())

    @property
    def body(self) -> str:
        return self.bodies[-1]

    def next(self, title: str, metadata: dict[str, Any], body: str, status: str) -> "Known":
        return Known(title, status, metadata, (*self.bodies, body), False, (*self.snapshots, (title, metadata)))


class ContentMachine(RuleBasedStateMachine):
    """One tenant's content. `tiers` is set by the test that runs the machine."""

    tiers: Tiers

    @initialize()
    def begin(self) -> None:
        self.tenant = uuid4()
        self.known: dict[UUID, Known] = {}
        self.sources: dict[str, UUID] = {}
        self.failing = False
        with self.tiers.database.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', %s, 'business')",
                [self.tenant, str(self.tenant)],
            )
        self.documents = ZeroDBClient(
            self.tiers.settings.zerodb_url, self.tiers.zerodb_project, self.tiers.settings.zerodb_key,
            timeout=5.0, attempts=2, total_timeout=0.5, wait_initial=0.01, wait_max=0.02,
        )  # fmt: skip
        self.store = self._store(self.tiers.database, self.documents)

    def _store(self, database: PostgresClient, documents: DocumentStore) -> ContentStore:
        return ContentStore(
            database, documents, QuotaLedger(database), self.tiers.warehouse, max_body_bytes=10_000,
            breaker=Breaker(0.0),
        )  # fmt: skip

    def _pick(self, data: st.DataObject, *, deleted: bool | None = False) -> UUID:
        # In the order in which they came: their ids are new in each run, and a seed must pick the same ones.
        wanted = [key for key, known in self.known.items() if deleted is None or known.deleted == deleted]
        return data.draw(st.sampled_from(wanted))

    def _live(self) -> bool:
        return any(not known.deleted for known in self.known.values())

    def _control(self, method: str, **fault: Any) -> None:
        self.failing = method == "POST"
        url = f"http://127.0.0.1:{self.tiers.settings.local_zerodb_port}/_control/faults"
        key = {"X-API-Key": self.tiers.settings.zerodb_key}
        httpx.request(method, url, json=fault or None, headers=key, timeout=10).raise_for_status()

    @rule(title=TITLES, body=TEXTS, metadata=METADATA, source=st.none() | st.sampled_from(["a", "b"]))
    def create(self, title: str, body: str, metadata: dict[str, Any], source: str | None) -> None:
        item = self.store.create(
            self.tenant, NewContent(title, body, metadata=metadata, source=source), created_by="machine"
        )
        self._created(item.id, title, body, metadata, source)

    @rule(contents=st.lists(st.tuples(TITLES, TEXTS), min_size=1, max_size=4))
    def create_many(self, contents: list[tuple[str, str]]) -> None:
        items = self.store.create_many(
            self.tenant, [NewContent(title, body) for title, body in contents], created_by="machine"
        )
        for item, (title, body) in zip(items, contents, strict=True):
            self._created(item.id, title, body, {}, None)

    def _created(self, item: UUID, title: str, body: str, metadata: dict[str, Any], source: str | None) -> None:
        if source is not None and source in self.sources:
            assert item == self.sources[source]
            return
        assert item not in self.known
        self.known[item] = Known(title, "draft", metadata, (body,), False, ((title, metadata),))
        if source is not None:
            self.sources[source] = item

    @precondition(_live)
    @rule(data=st.data(), title=st.none() | TITLES, body=st.none() | TEXTS, metadata=st.none() | METADATA)
    def update(self, data: st.DataObject, title: str | None, body: str | None, metadata: dict[str, Any] | None) -> None:
        key = self._pick(data)
        known = self.known[key]
        changes = Changes(title=title, body=body, metadata=metadata, status="published")
        try:
            self.store.update(self.tenant, key, changes, expected_version=len(known.bodies), changed_by="machine")
        except BodyUnavailable:
            # Only where the old body has to be read, and only while ZeroDB fails.
            assert self.failing
            assert body is None
        else:
            self._updated(key, changes)

    def _updated(self, key: UUID, changes: Changes) -> None:
        known = self.known[key]
        self.known[key] = known.next(
            known.title if changes.title is None else changes.title,
            known.metadata if changes.metadata is None else dict(changes.metadata),
            known.body if changes.body is None else changes.body,
            changes.status or known.status,
        )

    @precondition(_live)
    @rule(data=st.data(), offset=st.sampled_from([-1, 1, 7]))
    def update_from_a_wrong_version(self, data: st.DataObject, offset: int) -> None:
        key = self._pick(data)
        try:
            self.store.update(
                self.tenant, key, Changes(title="no"), expected_version=len(self.known[key].bodies) + offset,
                changed_by="machine",
            )  # fmt: skip
        except VersionConflict:
            return
        raise AssertionError("an update from a version that is not current was taken")

    @precondition(_live)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        key = self._pick(data)
        known = self.known[key]
        # Of a number that does not depend on them: how many there are does on whether a failing store was in time.
        version = 1 + data.draw(st.integers(0, 999)) % len(known.bodies)
        try:
            self.store.rollback_to(self.tenant, key, version, expected_version=len(known.bodies), changed_by="machine")
        except BodyUnavailable:
            assert self.failing
            return
        title, metadata = known.snapshots[version - 1]
        self.known[key] = known.next(title, metadata, known.bodies[version - 1], known.status)

    @precondition(_live)
    @rule(data=st.data())
    def soft_delete(self, data: st.DataObject) -> None:
        key = self._pick(data)
        self.store.soft_delete(self.tenant, key)
        self.known[key] = replace(self.known[key], deleted=True)

    @precondition(lambda self: any(known.deleted for known in self.known.values()))
    @rule(data=st.data())
    def undelete(self, data: st.DataObject) -> None:
        key = self._pick(data, deleted=True)
        self.store.undelete(self.tenant, key)
        self.known[key] = replace(self.known[key], deleted=False)

    @precondition(lambda self: bool(self.known))
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        key = self._pick(data, deleted=None)
        self.store.purge(self.tenant, key, may_purge=True, confirm=f"purge {key}")
        del self.known[key]
        self.sources = {source: item for source, item in self.sources.items() if item != key}

    @rule(body=st.sampled_from(["\0", "\ud800", "x" * 10_001]))
    def bad_input(self, body: str) -> None:
        try:
            self.store.create_many(
                self.tenant, [NewContent("good", "good"), NewContent("bad", body)], created_by="machine"
            )
        except InvalidContent:
            return
        raise AssertionError("a bad body was taken")

    @rule(kind=st.sampled_from(FAULTS), count=st.integers(1, 6))
    def zerodb_fails(self, kind: str, count: int) -> None:
        more = {"retry_after": 0} if kind == "rate_limit" else {}
        self._control("POST", kind=kind, count=count, **more)

    @rule()
    def zerodb_answers(self) -> None:
        self._control("DELETE")
        drain(self.tiers.database, self.documents)
        assert spill_state(self.tiers.database).bodies == 0

    @rule(title=TITLES, body=TEXTS, at=st.sampled_from(sorted(KILLS)), source=st.none() | st.just("killed"))
    def killed_while_creating(self, title: str, body: str, at: str, source: str | None) -> None:
        if source in self.sources:
            return
        self._control("DELETE")
        self._kill(
            at,
            lambda store: store.create(self.tenant, NewContent(title, body, source=source), created_by="machine"),
        )
        if KILLS[at]:
            with self.tiers.database.connection() as connection:
                rows = connection.execute(
                    "SELECT id FROM content_storage_metadata WHERE tenant_id = %s", [self.tenant]
                ).fetchall()
            (new,) = {row["id"] for row in rows} - self.known.keys()
            self._created(new, title, body, {}, source)

    @precondition(_live)
    @rule(data=st.data(), body=TEXTS, at=st.sampled_from(sorted(KILLS)))
    def killed_while_updating(self, data: st.DataObject, body: str, at: str) -> None:
        self._control("DELETE")
        key = self._pick(data)
        known = self.known[key]
        # Room is reserved only for growth, so the body grows: otherwise that failpoint is not reached.
        longer = known.body + body + "!"
        if len(longer.encode()) > 10_000:
            return
        changes = Changes(body=longer)
        self._kill(
            at,
            lambda store: store.update(
                self.tenant, key, changes, expected_version=len(known.bodies), changed_by="machine"
            ),
        )
        if KILLS[at]:
            self._updated(key, changes)

    def _kill(self, at: str, action: Callable[[ContentStore], object]) -> None:
        """Do it in a forked process that is killed at the failpoint."""
        child = os.fork()
        if child == 0:
            try:
                os.environ[VARIABLE] = at
                database = PostgresClient(self.tiers.database_url)
                documents = ZeroDBClient(
                    self.tiers.settings.zerodb_url, self.tiers.zerodb_project, self.tiers.settings.zerodb_key
                )
                action(self._store(database, documents))
            except BaseException:  # noqa: BLE001  (nothing of a forked test process may run on)
                traceback.print_exc()
            os._exit(3)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the failpoint {at} was not reached: status {status}"

    def teardown(self) -> None:
        if not hasattr(self, "tenant"):
            return
        self._control("DELETE")
        try:
            self.check_integrity()
            drain(self.tiers.database, self.documents)
            self.check_postgres()
            self.check_zerodb()
            self.check_usage()
            self.check_integrity()
            self.check_bigquery()
        finally:
            self.documents.close()

    def check_postgres(self) -> None:
        """Every item is there with its fields, its body and its versions, and nothing else is."""
        live = {key: known for key, known in self.known.items() if not known.deleted}
        contents = self.store.get_many(self.tenant, sorted(self.known))
        assert contents.keys() == live.keys()
        for key, known in live.items():
            found = contents[key]
            assert (found.item.title, found.item.status, found.item.metadata) == (
                known.title, known.status, known.metadata,
            )  # fmt: skip
            assert (found.body, found.body_source, found.body_error) == (known.body, "zerodb", None)
            assert found.item.version == len(known.bodies)
        for key in self.known.keys() - live.keys():
            try:
                self.store.get(self.tenant, key)
            except ContentNotFound:
                continue
            raise AssertionError(f"deleted item {key} can be read")
        listed: list[UUID] = []
        cursor = None
        while True:
            page = self.store.list(self.tenant, limit=2, after=cursor)
            listed += [entry.item.id for entry in page.items]
            for entry in page.items:
                assert entry.preview == live[entry.item.id].body[:200]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(listed) == sorted(live)
        for key, known in self.known.items():
            versions = self.store.versions(self.tenant, key)
            assert [version.version for version in versions] == list(range(len(known.bodies), 0, -1))
            assert [version.body_sha256 for version in reversed(versions)] == [sha256_hex(b) for b in known.bodies]

    def check_integrity(self) -> None:
        """No comparison finds a difference in what the store wrote: before the drain, and after it."""
        tenant, database = str(self.tenant), self.tiers.database
        lately: dict[str, Any] = {"tenant_id": tenant, "grace": timedelta(hours=1), "now": datetime.now(UTC)}
        for comparison in (
            scan_bodies(database, self.documents, tenant_id=tenant),
            compare_versions(database, self.documents, tenant_id=tenant),
            compare_spill(database, **lately),
            compare_documents(database, self.documents, **lately),
        ):
            assert (comparison.differences, comparison.unknown) == ([], None), comparison.name

    def check_zerodb(self) -> None:
        """Every version that a row names is there once with its body. What else is there, a killed writer left."""
        where = {"tenant_id": str(self.tenant)}
        documents = list(self.tiers.store.scan("content_items", where=where))
        named = {
            f"{key}.v{number}": body
            for key, known in self.known.items()
            for number, body in enumerate(known.bodies, start=1)
        }
        found = {document["id"]: document["body"] for document in documents}
        assert len(found) == len(documents), "a document is there twice"
        assert {key: found[key] for key in named} == named
        records = {document["id"] for document in self.tiers.store.scan("content_versions", where=where)}
        assert records >= named.keys()

    def check_usage(self) -> None:
        """The counters are the truth once the reservations of the killed have expired."""
        with self.tiers.database.connection() as connection:
            connection.execute(
                "UPDATE quota_reservations SET expires_at = now() - interval '1 second' "
                "WHERE tenant_id = %s AND state = 'reserved'",
                [self.tenant],
            )
        reap(self.tiers.database, self.tenant)
        live = [known for known in self.known.values() if not known.deleted]
        usage = QuotaLedger(self.tiers.database).usage(self.tenant)
        assert (usage.used_bytes, usage.reserved_bytes, usage.content_items) == (
            sum(len(known.body.encode()) for known in live), 0, len(live),
        )  # fmt: skip

    def check_bigquery(self) -> None:
        """After a sync BigQuery's current items are PostgreSQL's, with their bodies."""
        sync(self.tiers)
        view = self.tiers.warehouse.qualified("content_storage_current")
        rows = self.tiers.warehouse.query(
            f"SELECT entity_id, body FROM `{view}` WHERE tenant_id = @tenant", {"tenant": str(self.tenant)}
        )
        assert {UUID(row["entity_id"]): row["body"] for row in rows} == {
            key: known.body for key, known in self.known.items()
        }
