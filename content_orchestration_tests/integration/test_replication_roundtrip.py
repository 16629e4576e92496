"""What PostgreSQL printed comes back from BigQuery to the byte, and makes an equal row again (`TRAPS.md` 6 and 8)."""

import json
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import (
    TABLES,
    assert_equal,
    content_row,
    current,
    insert,
    media_row,
    put_bodies,
    sha256,
    version_row,
)
from content_orchestration_tests.tiers import Tiers

ROWS = 400 if os.environ.get("SOAK") else 40
TIMES = (
    "infinity",
    "-infinity",
    "12000-06-30 12:00:00.123456+00",
    "294276-12-31 23:59:59.999999+00",
    "0001-01-01 00:00:00+00",
    "0001-12-31 23:59:59.999999+00 BC",
    "4713-01-01 00:00:00+00 BC",
    "9999-12-31 23:59:59.999999+00",
    "10000-01-01 00:00:00+00",
    "1969-12-31 23:59:59.999999-12",
    "2024-02-29 12:34:56.7+05:45",
)
TEXTS = (
    "",
    " ",
    "trailing blanks   ",
    "\ttabs\r\n\x01\x1f\x7f\x85\u2028\ufeff",
    "\U0001d518\U0001d52b 👩🏽‍🔧 🏳️‍🌈 \U0010ffff",
    "Cafe\u0301 Café",
    "quotes \" ' \\ \\N \\u0000 %s {x} null NaN",
    "\ufffe\uffff\ud7ff\ue000",
    "x" * 70_000,
)
NUMBERS = (
    "0",
    "-0",
    "1.10",
    "1.100",
    "1e400",
    "1e-400",
    "-1.5e-300",
    "18446744073709551617",
    "-9223372036854775809",
    "1" + "0" * 200,
    "0.1000000000000000055511151231257827",
    "9007199254740993",
)


def document(chance: random.Random, depth: int = 0) -> str:
    """JSON text of an object, with what JSON parsers round, reorder or refuse."""

    def value(level: int) -> str:
        kind = chance.randrange(8 if level < 5 else 5)
        if kind == 0:
            return chance.choice(NUMBERS)
        if kind == 1:
            return json.dumps(chance.choice(TEXTS[:-1]), ensure_ascii=chance.random() < 0.5)
        if kind in (2, 3, 4):
            return chance.choice(["null", "true", "false", "{}", "[]", '""'])
        if kind == 5:
            return "[" + ", ".join(value(level + 1) for _ in range(chance.randrange(5))) + "]"
        return document(chance, level + 1)

    keys = chance.sample(["a", "", "ключ", "鍵🔑", "a.b", "$set", "NaN", "\\", '"', " b "], chance.randrange(6))
    return "{" + ", ".join(f"{json.dumps(key)}: {value(depth)}" for key in keys) + "}"


SPECIAL = (
    '{"a": ' * 500 + "{}" + "}" * 500,
    '{"list": ' + "[" * 900 + "]" * 900 + "}",
    json.dumps({f"key {number}": number for number in range(5_000)}),
    "{" + ", ".join(f'"n{number}": {text}' for number, text in enumerate(NUMBERS)) + "}",
)


def maybe(chance: random.Random, value: Any) -> Any:
    return None if chance.random() < 0.4 else value


def generated(chance: random.Random, number: int) -> tuple[dict[str, Any], str]:
    """A content row and its body."""
    body = chance.choice(TEXTS) * chance.randrange(1, 4) if number else ""
    metadata = SPECIAL[number] if number < len(SPECIAL) else document(chance)
    return content_row(
        UUID(int=chance.getrandbits(128)), 1, body,
        tenant_id=UUID(int=chance.getrandbits(128)),
        brand_id=maybe(chance, UUID(int=0)),
        campaign_space_id=maybe(chance, UUID(int=2**128 - 1)),
        user_id=maybe(chance, UUID(int=chance.getrandbits(128))),
        title=TEXTS[number % len(TEXTS)],
        content_type=chance.choice(["article", "post", "email", "image", "video", "document"]),
        status=chance.choice(["draft", "scheduled", "published", "archived"]),
        source=maybe(chance, f"{number}:{chance.choice(TEXTS[:-1])}"),
        metadata=metadata,
        created_at=TIMES[number % len(TIMES)],
        updated_at=chance.choice(TIMES),
        deleted_at=maybe(chance, chance.choice(TIMES)),
    ), body  # fmt: skip


def write(tiers: Tiers, chance: random.Random) -> None:
    with tiers.database.connection() as connection:
        for number in range(ROWS):
            row, body = generated(chance, number)
            put_bodies(tiers.store, {(row["id"], 1): body})
            insert(connection, "content_storage_metadata", row)
            version = version_row(row["id"], 1, body, changed_by=TEXTS[number % len(TEXTS)], patch=document(chance))
            version |= {"change_reason": chance.choice(TEXTS), "created_at": chance.choice(TIMES)}
            insert(connection, "content_versions", version)
            media = media_row(
                UUID(int=chance.getrandbits(128)),
                url=chance.choice(TEXTS), public_url=maybe(chance, ""), external_id=maybe(chance, chance.choice(TEXTS)),
                mime_type=maybe(chance, ""), size_bytes=chance.choice([0, 2**63 - 1]),
                sha256=maybe(chance, sha256(str(number))), metadata=document(chance),
                source=maybe(chance, f"m{number}"), created_at=chance.choice(TIMES),
                deleted_at=maybe(chance, "infinity"),
            )  # fmt: skip
            insert(connection, "media_assets", media)


def made_again(tiers: Tiers) -> dict[str, int]:
    """Rows of PostgreSQL that equal, field by field, what `jsonb_populate_record` makes of BigQuery's payload."""
    shown = current(tiers)
    equal = {}
    for table in TABLES:
        with tiers.database.connection() as connection:
            payloads = [state.row_json for state in shown[table].values()]
            row = connection.execute(
                f"SELECT count(*) AS n FROM unnest(%s::text[]) AS p (payload), "  # type: ignore[arg-type]
                f"jsonb_populate_record(NULL::{table}, p.payload::jsonb) r JOIN {table} t ON t.id = r.id "
                f"WHERE r::text = t::text AND row_to_json(r)::text = p.payload",
                (payloads,),
            ).fetchone()
            assert row
            equal[table] = row["n"]
    return equal


def test_generated_rows_come_back_to_the_byte(tiers: Tiers) -> None:
    seed = int(os.environ.get("ROUNDTRIP_SEED") or secrets.randbits(32))
    print(f"\nROUNDTRIP_SEED={seed}")  # noqa: T201  (to run it again)
    write(tiers, random.Random(seed))
    sync(tiers)
    assert_equal(tiers)
    assert made_again(tiers) == dict.fromkeys(TABLES, ROWS)
    with tiers.database.connection() as connection:
        connection.execute("DELETE FROM content_storage_metadata")
    last = {key: state.row_json for key, state in current(tiers)["content_storage_metadata"].items()}
    sync(tiers)
    assert_equal(tiers)
    names = "entity_id, op, row_json"
    rows = tiers.warehouse.query(f"SELECT {names} FROM `{tiers.warehouse.qualified('content_storage_dr')}`")
    assert {row["entity_id"]: row["row_json"] for row in rows if row["op"] == "delete"} == last


class Elsewhere(PostgresClient):
    """A client whose sessions print as the platform's may: in Tokyo's time."""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with super().connection() as connection:
            connection.execute("SET LOCAL timezone = 'Asia/Tokyo'")
            yield connection


def test_the_payload_does_not_depend_on_the_settings_of_a_session(tiers: Tiers) -> None:
    with Elsewhere(tiers.database_url) as database:
        elsewhere = FakeWorld(database, tiers.store, tiers.warehouse)  # type: ignore[arg-type]
        with database.connection() as connection:
            insert(connection, "media_assets", media_row(UUID(int=1), created_at="2024-02-03 04:05:06+00"))
        sync(elsewhere)
        printed = current(tiers)["media_assets"][str(UUID(int=1))].row_json
        assert '"created_at":"2024-02-03T04:05:06+00:00"' in printed
        assert_equal(tiers)
        with database.connection() as connection:
            connection.execute("DELETE FROM media_assets")
        sync(elsewhere)
    rows = tiers.warehouse.query(f"SELECT op, row_json FROM `{tiers.warehouse.qualified('content_media_dr')}`")
    assert {row["op"]: row["row_json"] for row in rows} == {"upsert": printed, "delete": printed}


def test_typed_columns_hold_what_bigquery_can_hold(tiers: Tiers) -> None:
    ids = {text: UUID(int=number + 1) for number, text in enumerate(TIMES)}
    with tiers.database.connection() as connection:
        for text, each in ids.items():
            insert(connection, "media_assets", media_row(each, created_at=text))
    sync(tiers)
    sql = f"SELECT entity_id, created_at, url FROM `{tiers.warehouse.qualified('content_media_current')}`"
    held = {row["entity_id"]: row["created_at"] for row in tiers.warehouse.query(sql)}
    fits = {text for text, each in ids.items() if held[str(each)] is not None}
    assert fits == {text for text in TIMES if not text.endswith("BC") and "infinity" not in text and text[4] == "-"}


@pytest.mark.timeout(300)
def test_bodies_of_10_mb(tiers: Tiers) -> None:
    bodies = {UUID(int=1): "x" * 10_000_000, UUID(int=2): "😀" * 2_500_000, UUID(int=3): "small"}
    with tiers.database.connection() as connection:
        for each, body in bodies.items():
            put_bodies(tiers.store, {(each, 1): body})
            insert(connection, "content_storage_metadata", content_row(each, 1, body))
    report = sync(tiers, max_bytes=5_000_000)
    assert report.bodies_withheld == 0
    shown = current(tiers)["content_storage_metadata"]
    assert {UUID(key): sha256(state.body or "") for key, state in shown.items()} == {
        key: sha256(body) for key, body in bodies.items()
    }
