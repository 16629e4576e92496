"""The vault of tenants' keys on the real server: bringing, rotating, moving, reading from the wrong side."""

import base64
import logging
import secrets
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from content_orchestration.core.errors import ContentError, Permanent, Transient
from content_orchestration.core.generation.keys.master import EnvironmentMasterKey
from content_orchestration.core.generation.keys.model import KeyMoved, KeyNotFound, KeyRefused, ProviderKey
from content_orchestration.core.generation.keys.rotation import rewrap, rotate_data_key
from content_orchestration.core.generation.keys.source import KeySource
from content_orchestration.core.generation.keys.vault import KeyVault, has_active
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient

OLD, NEW = (secrets.token_bytes(32) for _ in range(2))
FIRST = EnvironmentMasterKey({"k1": OLD})
BOTH = EnvironmentMasterKey({"k2": NEW, "k1": OLD})
SECOND = EnvironmentMasterKey({"k2": NEW})


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


@pytest.fixture
def vault(database: PostgresClient) -> KeyVault:
    return KeyVault(database, FIRST)


def key(name: str) -> SecretStr:
    return SecretStr(f"sk-canary-{name}")


def takes(opened: ProviderKey) -> None:
    """A provider that takes every key."""


def shown(opened: ProviderKey | None) -> tuple[int, str] | None:
    return opened and (opened.version, opened.secret.get_secret_value())


def states(vault: KeyVault, tenant: UUID) -> list[tuple[str, int, str]]:
    return [(state.provider, state.version, state.state) for state in vault.states(tenant)]


def test_a_key_comes_into_use_when_its_provider_takes_it(vault: KeyVault) -> None:
    tenant = uuid4()
    assert vault.active(tenant, "openai") is None
    asked: list[str] = []
    version = vault.bring(
        tenant, "openai", key("one"), "ann", lambda opened: asked.append(opened.secret.get_secret_value())
    )
    assert (version, asked) == (1, ["sk-canary-one"])
    assert shown(vault.active(tenant, "openai")) == (1, "sk-canary-one")
    assert vault.active(tenant, "anthropic") is None
    assert vault.active(uuid4(), "openai") is None
    assert vault.bring(tenant, "openai", key("two"), "ann", takes) == 2
    assert shown(vault.active(tenant, "openai")) == (2, "sk-canary-two")
    assert states(vault, tenant) == [("openai", 1, "retired"), ("openai", 2, "active")]
    first = vault.states(tenant)[0]
    assert first.created_by == "ann"
    assert first.activated_at is not None
    assert first.ended_at is not None
    assert first.ended_at >= first.activated_at >= first.created_at


def test_a_key_that_its_provider_refuses_is_destroyed_and_the_old_one_stays(vault: KeyVault) -> None:
    tenant = uuid4()
    vault.bring(tenant, "openai", key("good"), "ann", takes)

    def refuses(opened: ProviderKey) -> None:
        raise KeyRefused("no")

    def silent(opened: ProviderKey) -> None:
        raise Transient("nobody there")

    with pytest.raises(KeyRefused):
        vault.bring(tenant, "openai", key("bad"), "ann", refuses)
    with pytest.raises(KeyNotFound):
        vault.read(tenant, "openai", 2)
    with pytest.raises(Transient):
        vault.bring(tenant, "openai", key("unasked"), "ann", silent)
    assert shown(vault.active(tenant, "openai")) == (1, "sk-canary-good")
    assert states(vault, tenant) == [("openai", 1, "active"), ("openai", 2, "revoked"), ("openai", 3, "pending")]
    vault.activate(tenant, "openai", 3)
    assert shown(vault.active(tenant, "openai")) == (3, "sk-canary-unasked")
    vault.activate(tenant, "openai", 1)
    vault.activate(tenant, "openai", 1)
    assert shown(vault.active(tenant, "openai")) == (1, "sk-canary-good")


def test_a_revoked_key_is_gone_and_its_version_is_not_given_again(vault: KeyVault, database: PostgresClient) -> None:
    tenant = uuid4()
    vault.bring(tenant, "openai", key("one"), "ann", takes)
    vault.revoke(tenant, "openai", 1)
    assert vault.active(tenant, "openai") is None
    for gone in (vault.revoke, vault.activate, vault.read):
        with pytest.raises(KeyNotFound, match="no openai key with version 1, or it was revoked"):
            gone(tenant, "openai", 1)
    with pytest.raises(KeyNotFound):
        vault.activate(tenant, "openai", 7)
    assert vault.put(tenant, "openai", key("two"), "ann") == 2
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT version, sealed IS NULL AS gone FROM tenant_provider_keys ORDER BY 1"
        ).fetchall()
    assert [(row["version"], row["gone"]) for row in rows] == [(1, True), (2, False)]


def test_activating_what_is_not_there_leaves_the_key_in_use(vault: KeyVault) -> None:
    tenant = uuid4()
    vault.bring(tenant, "openai", key("one"), "ann", takes)
    with pytest.raises(KeyNotFound):
        vault.activate(tenant, "openai", 9)
    assert shown(vault.active(tenant, "openai")) == (1, "sk-canary-one")


@pytest.mark.parametrize("text", ["", "two words", "line\nend", "ümlaut", "x" * 501])
def test_what_can_be_no_key_is_refused_and_not_shown(vault: KeyVault, text: str) -> None:
    with pytest.raises(KeyRefused, match="printable ASCII") as caught:
        vault.put(uuid4(), "openai", SecretStr(text), "ann")
    assert not text or text not in str(caught.value)
    with pytest.raises(KeyRefused, match="provider is 'template'"):
        vault.put(uuid4(), "template", key("one"), "ann")


def test_a_tenant_that_leaves_leaves_nothing(vault: KeyVault, database: PostgresClient) -> None:
    leaves, stays = uuid4(), uuid4()
    for tenant in (leaves, stays):
        vault.bring(tenant, "openai", key("a"), "ann", takes)
        vault.bring(tenant, "anthropic", key("b"), "ann", takes)
    assert vault.erase(leaves) == 2
    assert (vault.erase(leaves), states(vault, leaves)) == (0, [])
    assert has_active(database, stays, "openai")
    assert not has_active(database, leaves, "openai")
    with database.connection() as connection:
        row = connection.execute("SELECT array_agg(DISTINCT tenant_id) AS left FROM tenant_data_keys").fetchone()
    assert row is not None
    assert row["left"] == [stays]


MOVES = {
    "another tenant": ("UPDATE tenant_provider_keys a SET sealed = b.sealed FROM tenant_provider_keys b "
                       "WHERE (a.tenant_id, a.provider, a.version) = (%(mine)s, 'openai', 1) "
                       "AND (b.tenant_id, b.provider, b.version) = (%(theirs)s, 'openai', 1)"),
    "another tenant with its data key": (
        "WITH k AS (UPDATE tenant_data_keys a SET wrapped = b.wrapped FROM tenant_data_keys b "
        "WHERE a.tenant_id = %(mine)s AND b.tenant_id = %(theirs)s) "
        "UPDATE tenant_provider_keys a SET sealed = b.sealed FROM tenant_provider_keys b "
        "WHERE (a.tenant_id, a.provider, a.version) = (%(mine)s, 'openai', 1) "
        "AND (b.tenant_id, b.provider, b.version) = (%(theirs)s, 'openai', 1)"),
    "another provider": ("UPDATE tenant_provider_keys a SET sealed = b.sealed FROM tenant_provider_keys b "
                         "WHERE (a.tenant_id, a.provider, a.version) = (%(mine)s, 'openai', 1) "
                         "AND (b.tenant_id, b.provider, b.version) = (%(mine)s, 'anthropic', 1)"),
    "another version": ("UPDATE tenant_provider_keys a SET sealed = b.sealed FROM tenant_provider_keys b "
                        "WHERE (a.tenant_id, a.provider, a.version) = (%(mine)s, 'openai', 1) "
                        "AND (b.tenant_id, b.provider, b.version) = (%(mine)s, 'openai', 2)"),
    "a flipped bit": ("UPDATE tenant_provider_keys SET sealed = set_bit(sealed, 130, 1 - get_bit(sealed, 130)) "
                      "WHERE tenant_id = %(mine)s"),
    "a data key's flipped bit": ("UPDATE tenant_data_keys SET wrapped = set_bit(wrapped, 9, 1 - get_bit(wrapped, 9)) "
                               "WHERE tenant_id = %(mine)s"),
    "the whole row to another tenant": ("UPDATE tenant_provider_keys SET tenant_id = %(mine)s, version = 9, "
                                        "state = 'active' WHERE tenant_id = %(theirs)s AND version = 1"),
}  # fmt: skip


@pytest.mark.parametrize("moved", MOVES)
def test_a_ciphertext_opens_nowhere_but_in_its_place(vault: KeyVault, database: PostgresClient, moved: str) -> None:
    mine, theirs = uuid4(), uuid4()
    for tenant in (mine, theirs):
        vault.put(tenant, "openai", key(f"{tenant}-1"), "ann")
        vault.activate(tenant, "openai", 1)
    vault.bring(mine, "anthropic", key("anthropic"), "ann", takes)
    vault.put(mine, "openai", key("next"), "ann")
    with database.connection() as connection:
        if "whole row" in moved:
            connection.execute("UPDATE tenant_provider_keys SET state = 'retired' WHERE tenant_id = %s", [mine])
        assert connection.execute(MOVES[moved], {"mine": mine, "theirs": theirs}).rowcount >= 1
    with pytest.raises(
        KeyMoved, match=r"moved from another row.* or damaged|moved from another row, damaged"
    ) as caught:
        vault.active(mine, "openai")
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    with pytest.raises(KeyMoved):
        rotate_data_key(database, FIRST, mine)


def test_the_master_key_rotates_in_bounded_steps_that_can_break_off(database: PostgresClient, vault: KeyVault) -> None:
    tenants = [uuid4() for _ in range(5)]
    for tenant in tenants:
        vault.bring(tenant, "openai", key(str(tenant)), "ann", takes)
    dry = rewrap(database, BOTH)
    assert (dry.rewrapped, dry.waiting, dry.applied, dry.wrapped_by) == (0, 5, False, {"k1": 5})
    first = rewrap(database, BOTH, apply=True, most=2)
    assert (first.rewrapped, first.waiting) == (2, 3)
    for tenant in tenants:
        assert shown(KeyVault(database, BOTH).active(tenant, "openai")) == (1, f"sk-canary-{tenant}")
    with pytest.raises(Permanent, match="wrapped by master key 'k1', and PROVIDER_MASTER_KEY holds only k2"):
        rewrap(database, SECOND, apply=True)
    rest = rewrap(database, BOTH, apply=True)
    assert (rest.rewrapped, rest.waiting, rest.wrapped_by) == (3, 0, {"k2": 5})
    for tenant in tenants:
        assert shown(KeyVault(database, SECOND).active(tenant, "openai")) == (1, f"sk-canary-{tenant}")
    assert rewrap(database, SECOND, apply=True).rewrapped == 0
    with pytest.raises(Permanent, match="most is 0"):
        rewrap(database, SECOND, most=0)


def test_a_master_key_that_does_not_open_all_changes_nothing(database: PostgresClient, vault: KeyVault) -> None:
    for _ in range(3):
        vault.bring(uuid4(), "openai", key("x"), "ann", takes)
    with database.connection() as connection:
        connection.execute(
            "UPDATE tenant_data_keys SET wrapped = '\\x00' "
            "WHERE tenant_id::text = (SELECT max(tenant_id::text) FROM tenant_data_keys)"
        )
    with pytest.raises(KeyMoved):
        rewrap(database, BOTH, apply=True)
    with database.connection() as connection:
        assert [row["master_key_id"] for row in connection.execute(statement("generation_keys/count_by_master"))] == [
            "k1"
        ]


def test_a_data_key_rotates_with_all_that_it_seals(database: PostgresClient, vault: KeyVault) -> None:
    tenant = uuid4()
    with pytest.raises(Permanent, match="never brought a key"):
        rotate_data_key(database, FIRST, tenant)
    vault.bring(tenant, "openai", key("a1"), "ann", takes)
    vault.bring(tenant, "openai", key("a2"), "ann", takes)
    vault.bring(tenant, "anthropic", key("b1"), "ann", takes)
    vault.put(tenant, "anthropic", key("b2"), "ann")
    vault.revoke(tenant, "anthropic", 2)
    with database.connection() as connection:
        before = {
            row["sealed"] for row in connection.execute("SELECT sealed FROM tenant_provider_keys") if row["sealed"]
        }
    assert rotate_data_key(database, BOTH, tenant) == 3
    with database.connection() as connection:
        after = {
            row["sealed"] for row in connection.execute("SELECT sealed FROM tenant_provider_keys") if row["sealed"]
        }
        data_keys = connection.execute("SELECT version, master_key_id FROM tenant_data_keys").fetchall()
    assert (len(after), after & before) == (3, set())
    assert data_keys == [{"version": 2, "master_key_id": "k2"}]
    renewed = KeyVault(database, SECOND)
    assert shown(renewed.active(tenant, "openai")) == (2, "sk-canary-a2")
    assert shown(renewed.read(tenant, "openai", 1)) == (1, "sk-canary-a1")
    assert shown(renewed.active(tenant, "anthropic")) == (1, "sk-canary-b1")
    assert renewed.put(tenant, "openai", key("a3"), "ann") == 3


def test_writers_at_once_get_a_version_each_and_one_is_in_use(database: PostgresClient, vault: KeyVault) -> None:
    tenant = uuid4()
    start = threading.Barrier(8)

    def bring(number: int) -> int:
        start.wait()
        return vault.bring(tenant, "openai", key(str(number)), "ann", takes)

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(bring, range(8)))
    assert sorted(versions) == list(range(1, 9))
    assert sorted(state for *_, state in states(vault, tenant)) == ["active"] + ["retired"] * 7


def test_no_call_fails_while_everything_rotates(database: PostgresClient) -> None:
    """Callers with remembered keys and readers of the vault, while keys, data keys and the master key rotate.

    The tenant deletes a key at its provider one rotation after it went out of use, which is when calls finished.
    """
    tenant = uuid4()
    vault = KeyVault(database, BOTH)
    accepted = {"sk-canary-0"}
    vault.bring(tenant, "openai", key("0"), "ann", takes)
    source = KeySource(vault, remembered=3600)
    done = threading.Event()
    calls, failed = [0] * 6, []

    def refused(opened: ProviderKey | None) -> bool:
        return opened is None or opened.secret.get_secret_value() not in accepted

    def caller(number: int) -> None:
        while not done.is_set():
            opened = source.active(tenant, "openai")
            if refused(opened) and refused(opened := source.again(tenant, "openai")):
                failed.append(shown(opened))
            calls[number] += 1

    def reader(number: int) -> None:
        while not done.is_set():
            opened = vault.active(tenant, "openai")
            if opened is None or opened.secret.get_secret_value() not in accepted | retired:
                failed.append(shown(opened))
            calls[number] += 1

    retired: set[str] = set()
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(caller if number < 3 else reader, number) for number in range(6)]
        for turn in range(1, 13):
            accepted.add(f"sk-canary-{turn}")
            vault.bring(tenant, "openai", key(str(turn)), "ann", takes)
            rotate_data_key(database, BOTH, tenant)
            rewrap(database, BOTH, apply=True)
            retired.add(f"sk-canary-{turn - 2}")
            accepted.discard(f"sk-canary-{turn - 2}")
        done.set()
        for future in running:
            future.result(30)
    assert failed == []
    assert min(calls) > 0


@pytest.mark.parametrize("role", ["content_app", "content_readonly"])
def test_only_jobs_read_or_write_what_is_sealed(database: PostgresClient, vault: KeyVault, role: str) -> None:
    mine, theirs = uuid4(), uuid4()
    for tenant in (mine, theirs):
        vault.bring(tenant, "openai", key("x"), "ann", takes)
    for forbidden in (
        "SELECT sealed FROM tenant_provider_keys", "SELECT * FROM tenant_provider_keys",
        "SELECT wrapped FROM tenant_data_keys",
        "SELECT count(*) FROM tenant_data_keys", "DELETE FROM tenant_provider_keys",
        "UPDATE tenant_provider_keys SET state = 'revoked'",
        "INSERT INTO tenant_provider_keys (tenant_id, provider, version) VALUES (gen_random_uuid(), 'openai', 1)",
    ):  # fmt: skip
        with pytest.raises(InsufficientPrivilege), acting(database, role, mine) as connection:
            connection.execute(forbidden)
    for tenant, seen in ((mine, [mine]), (None, [])):
        if role == "content_readonly":
            with pytest.raises(InsufficientPrivilege), acting(database, role, tenant) as connection:
                connection.execute("SELECT tenant_id FROM tenant_provider_keys")
        else:
            with acting(database, role, tenant) as connection:
                rows = connection.execute(
                    "SELECT tenant_id, provider, version, state FROM tenant_provider_keys"
                ).fetchall()
            assert [row["tenant_id"] for row in rows] == seen
    with acting(database, "content_worker", None) as connection:
        assert len(connection.execute("SELECT sealed FROM tenant_provider_keys").fetchall()) == 2


@contextmanager
def acting(database: PostgresClient, role: str, tenant: UUID | None) -> Iterator[psycopg.Connection[Any]]:
    """A transaction in a role and for a tenant, rolled back with its error or at its end."""
    with database.connection() as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "SELECT set_config('role', %s, true), set_config('app.tenant_id', %s, true)", [role, str(tenant or "")]
        )
        yield connection


def test_the_table_refuses_what_would_be_neither_key_nor_gone(database: PostgresClient, vault: KeyVault) -> None:
    tenant = uuid4()
    vault.bring(tenant, "openai", key("x"), "ann", takes)
    vault.put(tenant, "openai", key("y"), "ann")
    for wrong, error in (
        ("UPDATE tenant_provider_keys SET state = 'active' WHERE version = 2", psycopg.errors.UniqueViolation),
        ("UPDATE tenant_provider_keys SET sealed = NULL, data_key_version = NULL", psycopg.errors.CheckViolation),
        ("UPDATE tenant_provider_keys SET state = 'revoked'", psycopg.errors.CheckViolation),
        ("UPDATE tenant_provider_keys SET provider = 'Open AI'", psycopg.errors.CheckViolation),
        ("DELETE FROM tenant_data_keys", psycopg.errors.ForeignKeyViolation),
    ):
        with pytest.raises(error), database.connection() as connection:
            connection.execute(wrong)


def test_no_row_no_log_and_no_error_shows_a_key(
    database: PostgresClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "sk-canary-" + secrets.token_hex(16)
    tenant = uuid4()
    vault = KeyVault(database, FIRST)
    source = KeySource(vault)
    vault.bring(tenant, "openai", SecretStr(canary), "ann", takes)
    rotate_data_key(database, BOTH, tenant)
    rewrap(database, BOTH, apply=True)
    opened = KeyVault(database, BOTH).active(tenant, "openai")
    said = [repr(opened), str(opened), repr(vars(vault)), repr(vars(source)), repr(vault.states(tenant)), repr(FIRST)]

    def refuses(opened: ProviderKey) -> None:
        raise KeyRefused("no")

    def breaks(opened: ProviderKey) -> None:
        raise ValueError("a probe that breaks")

    attempts = (
        lambda: vault.active(tenant, "openai"),
        lambda: KeyVault(database, BOTH).bring(tenant, "openai", SecretStr(canary), "ann", refuses),
        lambda: KeyVault(database, BOTH).bring(tenant, "openai", SecretStr(canary), "ann", breaks),
        lambda: vault.put(tenant, "nobody", SecretStr(canary), "ann"),
        lambda: vault.put(tenant, "openai", SecretStr(canary + "\n"), "ann"),
        lambda: KeyVault(database, BOTH).put(tenant, "openai", SecretStr(canary), None),  # type: ignore[arg-type]
    )
    for attempt in attempts:
        try:
            attempt()
        except (ContentError, ValueError, psycopg.Error) as error:
            said += [repr(error), *traceback.TracebackException.from_exception(error).format()]
            error.__traceback__ = None
        else:
            raise AssertionError("it should have failed")
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
        rows = [
            str(connection.execute(SQL("SELECT t::text FROM {} t").format(Identifier(table))).fetchall())
            for (table,) in tables
        ]
    assert len(tables) > 25
    shapes = {canary, canary.encode().hex(), base64.b64encode(canary.encode()).decode(), OLD.hex(), NEW.hex()}
    for shape in shapes:
        assert shape not in caplog.text
        assert not [text for text in (*said, *rows) if shape in text]
