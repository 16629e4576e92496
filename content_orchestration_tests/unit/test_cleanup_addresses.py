"""Addresses of renders: the five forms are read, and nothing hostile ever leads out of the allowed places."""

import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from content_orchestration.core.cleanup.addresses import (
    QUARANTINE_PREFIX,
    AddressRefused,
    Location,
    RenderPlaces,
    checked_path,
)
from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.errors import Permanent
from content_orchestration.resources.render_store import RenderBuckets, render_buckets_of, render_places_of
from content_orchestration.settings import Settings

MINE, OTHER, USER = UUID(int=1), UUID(int=2), UUID(int=3)
HOST = "storage.platform.example"
PLACES = RenderPlaces(("renders", "tenant-{tenant}/out", "shared/{user}"), frozenset({HOST}))
SIGN, PUBLIC = f"https://{HOST}/storage/v1/object/sign/", f"https://{HOST}/storage/v1/object/public/"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (f"{SIGN}renders/a/b.mp4?token=x.y.z", "renders/a/b.mp4"),
        (f"{PUBLIC}renders/a/b.mp4", "renders/a/b.mp4"),
        (f"{PUBLIC}renders/a%20b/%C3%BC.mp4?token=%2e%2e", "renders/a b/ü.mp4"),
        ("/storage/v1/object/sign/renders/a?token=/../..", "renders/a"),
        (f"http://{HOST}:8000/storage/v1/object/public/renders/a", "renders/a"),
        ("s3://renders/a b/ü.mp4", "renders/a b/ü.mp4"),
        ("gs://renders/a", "renders/a"),
        ("renders/a/b.mp4", "renders/a/b.mp4"),
        (f"s3://tenant-{MINE}/out/a.mp4", f"tenant-{MINE}/out/a.mp4"),
        (f"shared/{USER}/a..b", f"shared/{USER}/a..b"),
        (f"{PUBLIC}renders/..a", "renders/..a"),
    ],
)
def test_every_form_names_its_file(url: str, found: str) -> None:
    assert str(PLACES.locate(url, MINE, USER)) == found


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "empty"),
        ("renders/" + "x" * 3000, "too_long"),
        ("renders/" + "ü" * 500, "too_long"),
        ("renders/../secrets/a", "dot_segment"),
        (f"{SIGN}renders/../secrets/a?token=x", "dot_segment"),
        (f"{SIGN}renders/%2e%2e/secrets/a?token=x", "dot_segment"),
        (f"{SIGN}renders/%2E%2E%2Fsecrets/a?token=x", "dot_segment"),
        (f"{SIGN}renders/%252e%252e/secrets", "encoded_twice"),
        (f"{SIGN}renders%2f..%2fsecrets/a", "dot_segment"),
        (f"{SIGN}renders/a%00b", "control_character"),
        (f"{SIGN}renders/a%5cb", "control_character"),
        (f"{SIGN}renders/%ff", "not_utf8"),
        ("renders/a\nb", "control_character"),
        ("renders/a\u202eb", "control_character"),
        ("renders\\a", "control_character"),
        ("renders//a", "dot_segment"),
        ("renders/ . /a", "dot_segment"),
        ("renders/", "dot_segment"),
        ("renders", "dot_segment"),
        ("/etc/passwd", "unknown_form"),
        ("file:///etc/passwd", "unknown_form"),
        ("https://evil.example/renders/a", "unknown_form"),
        ("https://evil.example/storage/v1/object/public/renders/a", "unknown_host"),
        (f"https://{HOST}@evil.example/storage/v1/object/public/renders/a", "unknown_host"),
        (f"https://user@{HOST}/storage/v1/object/public/renders/a", "unknown_host"),
        (f"https://{HOST}.evil.example/storage/v1/object/public/renders/a", "unknown_host"),
        (f"https://{HOST}/storage/v1/object/authenticated/renders/a", "unknown_form"),
        ("renders/a%20b", "ambiguous"),
        ("s3://renders/a?versionId=1", "ambiguous"),
        ("S3://renders/a", "unknown_form"),
        ("s3:///a", "no_bucket"),
        ("s3://re..nders/a", "no_bucket"),
        ("../renders/a", "no_bucket"),
        ("secrets/a", "not_allowed"),
        ("renders-eu/a", "not_allowed"),
        (f"s3://tenant-{OTHER}/out/a.mp4", "not_allowed"),
        (f"s3://tenant-{MINE}/outside/a.mp4", "not_allowed"),
        (f"s3://tenant-{MINE}/out", "not_allowed"),
        ("s3://tenant-{tenant}/out/a", "no_bucket"),
        (f"shared/{OTHER}/a", "not_allowed"),
        (f"renders/{QUARANTINE_PREFIX}/a", "quarantine_prefix"),
    ],
)
def test_hostile_addresses_are_refused_with_their_reason(url: str, reason: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        PLACES.locate(url, MINE, USER)
    assert refused.value.reason == reason
    assert "the render and its file stay" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_an_owner_who_is_not_known_has_no_places_of_his_own() -> None:
    for tenant, user, url in (
        (None, USER, f"tenant-{MINE}/out/a"),
        (None, USER, "tenant-None/out/a"),
        (MINE, None, "shared/None/a"),
    ):
        with pytest.raises(AddressRefused, match="not_allowed"):
            PLACES.locate(url, tenant, user)


def test_the_store_decides_which_scheme_is_its_own() -> None:
    only_s3 = RenderPlaces(("renders",), schemes=frozenset({"s3"}))
    assert str(only_s3.locate("s3://renders/a", None, None)) == "renders/a"
    with pytest.raises(AddressRefused, match="other_store"):
        only_s3.locate("gs://renders/a", None, None)


@pytest.mark.parametrize("entry", ["..", "a/../b", "/a", "a//b", "bücket"])
def test_a_setting_that_names_no_place_is_refused(entry: str) -> None:
    with pytest.raises(Permanent, match="RENDER_BUCKETS"):
        RenderPlaces((entry,))


def test_where_renders_are_is_known_without_their_owners() -> None:
    assert PLACES.folders() == {"renders": [""], "shared": [""]}
    assert PLACES.unlisted == ["tenant-{tenant}/out"]
    places = RenderPlaces(("a/x/{user}/y", "a/x/z", "a/xy/", "a/w-{tenant}", "b", "b/c"))
    assert places.folders() == {"a": [""], "b": [""]}
    assert RenderPlaces(places.entries[:3]).folders() == {"a": ["x", "xy"]}


PIECES = (
    ".. . / // %2e %2E %2f %5c %00 %25 %252e \\ \x00 renders secrets a ü ? # @ : s3:// gs:// https:// ~ * &token= out "
    f"evil.example \u2025 \uff0e /storage/v1/object/sign/ /storage/v1/object/public/ {QUARANTINE_PREFIX} "
    f"{HOST} tenant-{OTHER} tenant-{MINE}"
)
pieces = st.sampled_from([*PIECES.split(" "), " ", "\n"])
hostile = st.one_of(
    st.lists(pieces, max_size=14).map("".join),
    st.lists(pieces, max_size=10).map(lambda parts: SIGN + "".join(parts)),
    st.lists(pieces, max_size=10).map(lambda parts: "renders/" + "".join(parts)),
    st.text(max_size=60).map(lambda text: f"s3://renders/{text}"),
    st.text(max_size=60).map(lambda text: PUBLIC + "renders/" + quote(text)),
    st.text(max_size=80),
)


@given(hostile)
@example(f"{SIGN}renders/%2e%2e%2f%2e%2e/a")
def test_whatever_is_written_the_file_is_within_its_place(url: str) -> None:
    """By the rules of paths themselves: what is accepted, joined to the root, stays below the allowed folder."""
    try:
        found = PLACES.locate(url, MINE, USER)
    except AddressRefused:
        return
    root = Path("/root-of-buckets")
    allowed = [root / "renders", root / f"tenant-{MINE}" / "out", root / "shared" / str(USER)]
    resolved = Path(f"{root}/{found}")
    assert ".." not in resolved.parts
    assert any(resolved.is_relative_to(place) and resolved != place for place in allowed), found
    assert not any(unicodedata.category(each) in ("Cc", "Cf") for each in str(found))
    assert found.path.split("/")[0] != QUARANTINE_PREFIX
    assert checked_path(found.path) == found.path


segments = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="/\\%?#"),
    min_size=1, max_size=12,
).filter(lambda text: text.strip(". \t") != "")  # fmt: skip


@given(st.lists(segments, min_size=1, max_size=4))
def test_all_forms_of_one_file_name_the_same(parts: list[str]) -> None:
    path = "/".join(parts)
    if path.split("/")[0] == QUARANTINE_PREFIX:
        return
    forms = [
        f"{SIGN}renders/{quote(path)}?token=t",
        f"{PUBLIC}renders/{quote(path)}",
        f"s3://renders/{path}",
        f"gs://renders/{path}",
        f"renders/{path}",
    ]
    assert {PLACES.locate(form, None, None) for form in forms} == {Location("renders", path)}


def test_never_delete_covers_whole_segments_only() -> None:
    never = NeverDelete.of(str(MINE), "renders/kept brand")
    assert never.forbids(MINE, "x/y") == "never_delete_tenant"
    assert never.forbids(OTHER, "renders/kept/a") == "never_delete_prefix"
    assert never.forbids(None, "renders/kept") == "never_delete_prefix"
    assert never.forbids(OTHER, "brand/any/thing") == "never_delete_prefix"
    assert never.forbids(OTHER, "renders/kept-not/a") is None
    assert never.forbids(OTHER) is None


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(**{"LOCAL_STATE_DIR": tmp_path, **given})


def test_the_settings_say_which_store_and_which_places(tmp_path: Path) -> None:
    local = settings(tmp_path)
    assert render_buckets_of(local).bucket("renders").location == (tmp_path / "renders" / "renders").as_uri()
    assert str(render_places_of(local).locate(f"{SIGN}renders/a?token=t", None, None)) == "renders/a"
    s3 = settings(
        tmp_path, STORAGE_URL="s3://media/files", STORAGE_ENDPOINT="https://abc.supabase.co/storage/v1/s3",
        STORAGE_REGION="r", STORAGE_ACCESS_KEY_ID="k", STORAGE_SECRET_ACCESS_KEY="s", RENDER_HOSTS="cdn.example",
    )  # fmt: skip
    assert render_buckets_of(s3).bucket("renders").location == "s3://renders"
    places = render_places_of(s3)
    assert places.hosts == {"abc.supabase.co", "cdn.example"}
    with pytest.raises(AddressRefused, match="other_store"):
        places.locate("gs://renders/a", None, None)
    for name in ("a/b", "..", ""):
        with pytest.raises(Permanent):
            RenderBuckets("s3://").bucket(name)


def test_only_the_testing_profile_is_quick(tmp_path: Path) -> None:
    usual = settings(tmp_path)
    assert (usual.orphan_minimum_age.total_seconds(), usual.orphan_grace.total_seconds()) == (3600, 86400)
    assert (usual.orphan_interval_minutes, usual.orphan_cron) == (60, "0 * * * *")
    quick = settings(tmp_path, PLATFORM_PROFILE="testing", ORPHAN_QUARANTINE_HOURS="0")
    assert (quick.orphan_minimum_age.total_seconds(), quick.orphan_cron) == (180, "*/3 * * * *")
    assert (
        settings(tmp_path, PLATFORM_PROFILE="testing", ORPHAN_MIN_AGE_MINUTES="7").orphan_minimum_age.total_seconds()
        == 420
    )
    for given_ in (
        {"ORPHAN_MIN_AGE_MINUTES": "59"},
        {"ORPHAN_CLEANUP_INTERVAL_MINUTES": "5"},
        {"ORPHAN_QUARANTINE_HOURS": "0"},
    ):
        with pytest.raises(ValueError, match="PLATFORM_PROFILE=testing only"):
            settings(tmp_path, **given_)
    with pytest.raises(ValueError, match="must divide 60"):
        settings(tmp_path, ORPHAN_CLEANUP_INTERVAL_MINUTES="25")
    with pytest.raises(ValueError, match="no id of a tenant"):
        settings(tmp_path, CLEANUP_NEVER_DELETE_TENANTS="x")
