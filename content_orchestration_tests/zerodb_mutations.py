"""Ways to make PostgreSQL and ZeroDB differ, each with what has to be found. The world is that of `zerodb_world.py`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from content_orchestration_tests.zerodb_world import (
    GRACE,
    NOW,
    TENANTS,
    Found,
    World,
    add_item,
    body_document,
    body_id,
    media_document,
    sha256,
    version_document,
)

ITEMS, VERSIONS, MEDIA = "content_items", "content_versions", "content_media_files"
OLD = (NOW - GRACE).isoformat()

Mutation = Callable[[World], Found]
MUTATIONS: dict[str, Mutation] = {}


def mutation(change: Mutation) -> Mutation:
    MUTATIONS[change.__name__] = change
    return change


def hash_differs(content: UUID, version: int = 1) -> tuple[str, str, str]:
    return ("body_hash_differs", ITEMS, body_id(content, version))


# --- bodies ----------------------------------------------------------------------------------------------------------


def new_body(world: World, number: int, body: Any) -> Found:
    world.change(ITEMS, body_id(world.items[number]), body=body)
    return {hash_differs(world.items[number])}


@mutation
def one_bit_of_a_body(world: World) -> Found:
    body = world.document(ITEMS, body_id(world.items[5]))["body"]
    return new_body(world, 5, body[:4000] + chr(ord(body[4000]) ^ 1) + body[4001:])


@mutation
def two_bodies_swapped(world: World) -> Found:
    first, second = (world.document(ITEMS, body_id(world.items[n]))["body"] for n in (3, 4))
    return new_body(world, 3, second) | new_body(world, 4, first)


@mutation
def two_bodies_swapped_with_their_hashes(world: World) -> Found:
    first, second = (world.document(ITEMS, body_id(world.items[n])) for n in (3, 4))
    for document, other in ((first, second), (second, first)):
        world.change(ITEMS, document["id"], body=other["body"], body_sha256=other["body_sha256"])
    return {hash_differs(world.items[3]), hash_differs(world.items[4])}


@mutation
def a_trailing_blank_more(world: World) -> Found:
    return new_body(world, 1, "plain ")


@mutation
def a_trailing_blank_less(world: World) -> Found:
    return new_body(world, 2, "trailing blank")


@mutation
def another_line_end(world: World) -> Found:
    return new_body(world, 6, "a\nb\tc")


@mutation
def another_normal_form(world: World) -> Found:
    body = world.document(ITEMS, body_id(world.items[4]))["body"]
    return new_body(world, 4, body.replace("ż", "z\u0307"))


@mutation
def null_for_the_text_null(world: World) -> Found:
    return new_body(world, 3, None)


@mutation
def null_for_an_empty_body(world: World) -> Found:
    return new_body(world, 0, None)


@mutation
def the_text_null_for_an_empty_body(world: World) -> Found:
    return new_body(world, 0, "null")


@mutation
def an_empty_body_for_the_text_null(world: World) -> Found:
    return new_body(world, 3, "")


@mutation
def a_number_for_a_body(world: World) -> Found:
    return new_body(world, 1, 17)


@mutation
def a_list_for_a_body(world: World) -> Found:
    return new_body(world, 1, ["plain"])


@mutation
def a_body_that_is_gone(world: World) -> Found:
    world.api("PUT", ITEMS, {"filter": {"id": body_id(world.items[1])}, "update": {"$unset": {"body": ""}}})
    return {hash_differs(world.items[1])}


@mutation
def the_body_of_an_old_version(world: World) -> Found:
    world.change(ITEMS, body_id(world.items[2], 1), body="something else")
    return {hash_differs(world.items[2], 1)}


@mutation
def the_body_of_a_deleted_item(world: World) -> Found:
    return new_body(world, 5, "gone, but kept")


@mutation
def a_missing_body(world: World) -> Found:
    world.remove(ITEMS, body_id(world.items[2], 2))
    return {("document_missing", ITEMS, body_id(world.items[2], 2))}


@mutation
def a_spilled_body_that_is_in_neither(world: World) -> Found:
    assert world.spilled
    world.run("DELETE FROM content_body_spill")
    return {(("document_missing"), name, body_id(world.spilled)) for name in (ITEMS, VERSIONS)}


@mutation
def the_size_in_both_rows(world: World) -> Found:
    for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
        world.run(f"UPDATE {table} SET storage_size_bytes = storage_size_bytes + 1 WHERE {column} = %s", world.items[3])
    world.count_usage()
    return {("body_size_differs", ITEMS, body_id(world.items[3]))}


@mutation
def the_hash_in_both_rows(world: World) -> Found:
    for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
        world.run(f"UPDATE {table} SET body_sha256 = %s WHERE {column} = %s", sha256("no"), world.items[3])
    return {hash_differs(world.items[3]), ("document_differs", VERSIONS, body_id(world.items[3]))}


@mutation
def the_tenant_of_a_body(world: World) -> Found:
    world.change(ITEMS, body_id(world.items[3]), tenant_id=str(TENANTS[0]))
    return {("document_differs", ITEMS, body_id(world.items[3]))}


@mutation
def the_item_of_a_body(world: World) -> Found:
    world.change(ITEMS, body_id(world.items[3]), content_id=str(world.items[4]))
    return {("document_differs", ITEMS, body_id(world.items[3]))}


@mutation
def the_hash_that_a_document_claims(world: World) -> Found:
    world.change(ITEMS, body_id(world.items[3]), body_sha256=sha256("no"))
    return {("document_differs", ITEMS, body_id(world.items[3]))}


@mutation
def the_size_that_a_document_claims(world: World) -> Found:
    world.change(ITEMS, body_id(world.items[3]), size_bytes=1)
    return {("document_differs", ITEMS, body_id(world.items[3]))}


# --- documents -------------------------------------------------------------------------------------------------------


@mutation
def a_body_twice(world: World) -> Found:
    world.put(ITEMS, world.document(ITEMS, body_id(world.items[2], 3)))
    return {("duplicate_document", ITEMS, body_id(world.items[2], 3))}


@mutation
def a_body_three_times(world: World) -> Found:
    world.put(ITEMS, *[world.document(ITEMS, body_id(world.items[0]))] * 2)
    return {("duplicate_document", ITEMS, body_id(world.items[0]))}


@mutation
def a_version_document_twice(world: World) -> Found:
    world.put(VERSIONS, world.document(VERSIONS, body_id(world.items[0])))
    return {("duplicate_document", VERSIONS, body_id(world.items[0]))}


@mutation
def a_media_document_twice(world: World) -> Found:
    world.put(MEDIA, world.document(MEDIA, str(world.media[0])))
    return {("duplicate_document", MEDIA, str(world.media[0]))}


@mutation
def an_old_body_without_a_row(world: World) -> Found:
    stray = uuid4()
    world.put(ITEMS, body_document(stray, TENANTS[0], 1, "stray", created_at=OLD))
    return {("document_without_row", ITEMS, body_id(stray))}


@mutation
def a_version_that_no_row_knows(world: World) -> Found:
    world.put(ITEMS, body_document(world.items[0], TENANTS[0], 2, "stray", created_at=OLD))
    return {("document_without_row", ITEMS, body_id(world.items[0], 2))}


@mutation
def an_old_version_document_without_a_row(world: World) -> Found:
    stray = uuid4()
    world.put(VERSIONS, {**version_document(stray, TENANTS[0], 1, "stray"), "created_at": OLD})
    return {("document_without_row", VERSIONS, body_id(stray))}


@mutation
def an_old_media_document_without_a_row(world: World) -> Found:
    stray = uuid4()
    world.put(MEDIA, media_document(stray, TENANTS[1], None, created_at=OLD))
    return {("document_without_row", MEDIA, str(stray))}


@mutation
def a_document_of_nobody_with_an_id_that_postgresql_cannot_hold(world: World) -> Found:
    world.put(ITEMS, {"id": "stray\x00id", "created_at": OLD})
    return {("document_without_row", ITEMS, "stray\\x00id")}


# --- versions --------------------------------------------------------------------------------------------------------


@mutation
def a_gap_in_the_versions(world: World) -> Found:
    world.run("DELETE FROM content_versions WHERE content_id = %s AND version = 2", world.items[2])
    backdate_deletes(world)
    stray = body_id(world.items[2], 2)
    world.remove(ITEMS, stray)
    world.remove(VERSIONS, stray)
    return {("version_gap", VERSIONS, str(world.items[2]))}


@mutation
def versions_that_begin_at_two(world: World) -> Found:
    world.run("DELETE FROM content_versions WHERE content_id = %s AND version = 1", world.items[2])
    backdate_deletes(world)
    world.remove(ITEMS, body_id(world.items[2], 1))
    world.remove(VERSIONS, body_id(world.items[2], 1))
    return {("version_gap", VERSIONS, str(world.items[2]))}


@mutation
def a_record_that_is_lost_and_its_documents_not(world: World) -> Found:
    world.run("DELETE FROM content_versions WHERE content_id = %s AND version = 2", world.items[2])
    backdate_deletes(world)
    for name in (ITEMS, VERSIONS):
        world.change(name, body_id(world.items[2], 2), created_at=OLD)
    stray = {("document_without_row", name, body_id(world.items[2], 2)) for name in (ITEMS, VERSIONS)}
    return stray | {("version_gap", VERSIONS, str(world.items[2]))}


@mutation
def a_pointer_beyond_the_versions(world: World) -> Found:
    world.run("UPDATE content_storage_metadata SET version = 4 WHERE id = %s", world.items[2])
    # The document that the pointer names says version 3 of itself.
    return {
        ("version_differs", "content_storage_metadata", str(world.items[2])),
        ("document_differs", ITEMS, body_id(world.items[2], 3)),
    }


@mutation
def a_pointer_behind_the_versions(world: World) -> Found:
    world.run(
        "UPDATE content_storage_metadata i SET version = v.version, zerodb_row_id = v.zerodb_row_id, "
        "body_sha256 = v.body_sha256, storage_size_bytes = v.storage_size_bytes "
        "FROM content_versions v WHERE v.content_id = i.id AND v.version = 2 AND i.id = %s",
        world.items[2],
    )
    world.count_usage()
    return {("version_differs", "content_storage_metadata", str(world.items[2]))}


@mutation
def a_pointer_to_the_document_of_another_version(world: World) -> Found:
    world.run(
        "UPDATE content_storage_metadata SET zerodb_row_id = %s, body_sha256 = %s WHERE id = %s",
        body_id(world.items[7], 1),
        sha256("plain"),
        world.items[7],
    )
    return {
        ("version_differs", "content_storage_metadata", str(world.items[7])),
        ("body_size_differs", ITEMS, body_id(world.items[7], 1)),
        ("document_differs", ITEMS, body_id(world.items[7], 1)),
    }


@mutation
def versions_of_another_tenant(world: World) -> Found:
    world.run(
        "UPDATE content_versions SET tenant_id = %s WHERE content_id = %s AND version = 1", TENANTS[1], world.items[2]
    )
    return {
        ("version_differs", "content_storage_metadata", str(world.items[2])),
        ("document_differs", VERSIONS, body_id(world.items[2], 1)),
        ("document_differs", ITEMS, body_id(world.items[2], 1)),
    }


@mutation
def versions_without_an_item(world: World) -> Found:
    world.run("DELETE FROM content_storage_metadata WHERE id = %s", world.items[2])
    world.count_usage()
    return {("version_differs", "content_storage_metadata", str(world.items[2]))}


@mutation
def an_item_without_versions(world: World) -> Found:
    world.run("DELETE FROM content_versions WHERE content_id = %s", world.items[0])
    backdate_deletes(world)
    world.change(VERSIONS, body_id(world.items[0]), created_at=OLD)
    return {
        ("version_differs", "content_storage_metadata", str(world.items[0])),
        ("document_without_row", VERSIONS, body_id(world.items[0])),
    }


def version_field(field: str, value: Any) -> Mutation:
    def change(world: World) -> Found:
        world.change(VERSIONS, body_id(world.items[1], 2), **{field: value})
        return {("document_differs", VERSIONS, body_id(world.items[1], 2))}

    return change


for _field, _value in {
    "changed_by": "somebody else",
    "change_reason": None,
    "version": 3,
    "content_id": "x",
    "tenant_id": None,
    "body_sha256": sha256("no"),
    "patch": [{"op": "replace", "path": "/1", "value": True}],
}.items():
    MUTATIONS[f"version_document_{_field}"] = version_field(_field, _value)


@mutation
def a_missing_version_document(world: World) -> Found:
    world.remove(VERSIONS, body_id(world.items[1], 2))
    return {("document_missing", VERSIONS, body_id(world.items[1], 2))}


# --- media -----------------------------------------------------------------------------------------------------------


def media_field(field: str, value: Any) -> Mutation:
    def change(world: World) -> Found:
        world.change(MEDIA, str(world.media[1]), **{field: value})
        return {("document_differs", MEDIA, str(world.media[1]))}

    return change


for _field, _value in {
    "kind": "video",
    "url": "https://files.example/other.jpg",
    "public_url": "",
    "external_id": "ext ",
    "mime_type": "image/JPEG",
    "size_bytes": 8,
    "content_id": None,
    "tenant_id": str(TENANTS[0]),
}.items():
    MUTATIONS[f"media_document_{_field}"] = media_field(_field, _value)


@mutation
def the_url_of_a_file_in_its_row(world: World) -> Found:
    world.run("UPDATE media_assets SET url = url || '?' WHERE id = %s", world.media[0])
    return {("document_differs", MEDIA, str(world.media[0]))}


@mutation
def a_missing_media_document(world: World) -> Found:
    world.remove(MEDIA, str(world.media[0]))
    return {("document_missing", MEDIA, str(world.media[0]))}


# --- spill and usage -------------------------------------------------------------------------------------------------


def spill_column(change_of: str) -> Mutation:
    def change(world: World) -> Found:
        assert world.spilled
        world.run(f"UPDATE content_body_spill SET {change_of}")
        return {("spill_differs", "content_body_spill", body_id(world.spilled))}

    return change


for _name, _change in {
    "body": "body = body || ' '",
    "hash": f"body_sha256 = '{sha256('no')}'",
    "size": "size_bytes = size_bytes + 1",
    "version": "version = 2",
    "tenant": f"tenant_id = '{TENANTS[1]}'",
}.items():
    MUTATIONS[f"spill_{_name}"] = spill_column(_change)


@mutation
def a_spilled_body_without_a_row(world: World) -> Found:
    add_item(world, stray := uuid4(), TENANTS[0], ["stray"], spilled=True)
    for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
        world.run(f"DELETE FROM {table} WHERE {column} = %s", stray)
    world.run("UPDATE content_body_spill SET created_at = %s WHERE content_id = %s", NOW - GRACE, stray)
    return {("spill_without_row", "content_body_spill", body_id(stray))}


def counter(change_of: str) -> Mutation:
    def change(world: World) -> Found:
        world.run(f"{change_of} WHERE tenant_id = '{TENANTS[1]}'")
        return {("usage_differs", "content_quota_usage", str(TENANTS[1]))}

    return change


for _column in ("used_bytes", "content_items", "media_files", "media_bytes"):
    MUTATIONS[f"counter_{_column}"] = counter(f"UPDATE content_quota_usage SET {_column} = {_column} + 1")
MUTATIONS["counter_missing"] = counter("DELETE FROM content_quota_usage")


def backdate_deletes(world: World) -> None:
    """Rows that were deleted before the grace period began."""
    world.run("UPDATE content_changes SET changed_at = %s WHERE op = 'D'", NOW - GRACE - timedelta(seconds=1))
