"""The demo data: the exact totals that the product promises, cleanness, and repeatability."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import pytest

from content_orchestration.local.demo_data import DEFAULT_SEED, DemoData, Row, generate
from content_orchestration.local.platform_tables import PLATFORM_TABLES
from content_orchestration.settings import PROJECT_ROOT

GIB = 2**30
PLAN_LIMITS = {None: GIB, "free": GIB, "starter": 10 * GIB, "professional": 100 * GIB, "business": 500 * GIB}
ASSET_TYPES = {"image", "video", "ad_copy", "headline", "description", "document"}
ITEM_TYPES = {"article", "post", "video", "image", "document", "email"}
STATUSES = {"draft", "scheduled", "published", "archived"}
PERIOD = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
SEEDS = (DEFAULT_SEED, 1, 2, 3, 99)


@pytest.fixture(scope="module", params=SEEDS)
def data(request: pytest.FixtureRequest) -> DemoData:
    return generate(request.param)


@pytest.fixture(scope="module")
def demo() -> DemoData:
    return generate()


def fingerprint(data: DemoData) -> str:
    text = json.dumps(data.tables, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def tenant(data: DemoData, name: str) -> Row:
    return next(row for row in data.tables["tenants"] if row["name"] == name)


def legacy_rows(data: DemoData) -> list[Row]:
    return [*data.tables["campaign_assets"], *data.tables["content_items"]]


def test_the_promised_totals(data: DemoData) -> None:
    assert tuple(data.tables) == PLATFORM_TABLES
    assert len(data.tables["tenants"]) == 8
    assert (len(data.tables["campaign_assets"]), len(data.tables["content_items"])) == (175, 113)
    media = list(data.named_media())
    assert len(media) == 1525
    assert len({url for _, url, _ in media}) == 1525


@pytest.mark.parametrize(
    ("name", "items", "media", "gib"), [("Acme Corporation", 87, 440, 2.14), ("Stellar Retail Co", 88, 477, 2.67)]
)
def test_the_two_large_tenants(data: DemoData, name: str, items: int, media: int, gib: float) -> None:
    row = tenant(data, name)
    owned = Counter(
        table
        for table in ("campaign_assets", "content_items")
        for each in data.tables[table]
        if each["tenant_id"] == row["id"]
    )
    assert owned.total() == items
    assert min(owned["campaign_assets"], owned["content_items"]) > 0
    sizes = [size for owner, _, size in data.named_media() if owner == row["id"]]
    assert (len(sizes), sum(sizes)) == (media, round(gib * GIB))
    assert min(sizes) > 0
    assert sum(sizes) < PLAN_LIMITS[row["plan_tier"]]


def test_the_six_smaller_tenants_cover_every_plan_and_stay_below_its_limit(data: DemoData) -> None:
    large = {tenant(data, name)["id"] for name in ("Acme Corporation", "Stellar Retail Co")}
    small = {row["id"]: row["plan_tier"] for row in data.tables["tenants"] if row["id"] not in large}
    assert sorted(map(str, small.values())) == ["None", "business", "enterprise", "free", "professional", "starter"]
    used: Counter[object] = Counter()
    media: Counter[object] = Counter()
    for owner, _, size in data.named_media():
        used[owner] += size
        media[owner] += 1
    assert sum(media[owner] for owner in small) == 608
    assert sum(row["tenant_id"] in small for row in legacy_rows(data)) == 113
    bodies: Counter[object] = Counter()
    for row in data.tables["content_items"]:
        bodies[row["tenant_id"]] += len(row["content_body"].encode())
    for owner, plan in small.items():
        if plan != "enterprise":
            assert 0 < used[owner] + bodies[owner] < PLAN_LIMITS[plan]


def test_every_row_is_clean(data: DemoData) -> None:
    owner_of = {row["id"]: row["tenant_id"] for table in ("brands", "users") for row in data.tables[table]}
    tenants = {row["id"] for row in data.tables["tenants"]}
    for row in legacy_rows(data):
        assert row["tenant_id"] in tenants
        assert owner_of[row["brand_id"]] == row["tenant_id"]
        assert row["user_id"] is None or owner_of[row["user_id"]] == row["tenant_id"]
        assert (
            datetime(2024, 1, 1, tzinfo=UTC) < row["created_at"] <= row["updated_at"] < datetime(2026, 1, 1, tzinfo=UTC)
        )
    assert {row["asset_type"] for row in data.tables["campaign_assets"]} == ASSET_TYPES
    assert {row["content_type"] for row in data.tables["content_items"]} == ITEM_TYPES
    assert {row["status"] for row in data.tables["content_items"]} == STATUSES
    for row in data.tables["campaign_assets"]:
        assert row["asset_name"].strip()
        assert row["deleted_at"] is None
    for row in data.tables["content_items"]:
        assert row["title"].strip()
        for entry in row["content_metadata"]["media"]:
            assert entry["url"].startswith("https://")
            assert entry["mime_type"]
            assert type(entry["size_bytes"]) is int


def test_both_ways_of_naming_a_file_occur(demo: DemoData) -> None:
    assets = demo.tables["campaign_assets"]
    assert any(not row["file_url"] and row["public_url"] for row in assets)
    assert any(row["file_url"] and not row["public_url"] for row in assets)
    assert any(not row["file_url"] and not row["public_url"] for row in assets)


def test_bodies_are_sized_and_differ(data: DemoData) -> None:
    bodies = [row["content_body"] for row in data.tables["content_items"]]
    assert all(300 <= len(body.encode()) <= 6_000 for body in bodies)
    assert len(set(bodies)) == len(bodies)
    assert not any("{" in body or "\x00" in body for body in bodies)


def test_several_languages_and_planes_occur(demo: DemoData) -> None:
    items = demo.tables["content_items"]
    assert {row["content_metadata"]["language"] for row in items} == {"en", "de", "fr", "es", "ja", "zh"}
    text = "".join(row["content_body"] for row in items)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in text)
    assert any(letter > "\uffff" for letter in text)


def test_a_few_renders_are_orphans_in_every_form_of_address(demo: DemoData) -> None:
    saved = {row["metadata"].get("render_job_id") for row in demo.tables["user_assets"]}
    jobs = demo.tables["render_jobs"]
    orphans = [row for row in jobs if row["status"] == "completed" and str(row["id"]) not in saved]
    assert (len(jobs), len(demo.tables["user_assets"]), len(orphans)) == (40, 24, 8)
    forms = ("/object/sign/", "/object/public/", "s3://", "gs://", "renders/")
    seen = {next(form for form in forms if form in row["output_url"]) for row in orphans}
    assert seen == set(forms)
    assert all((row["output_url"] is not None) == (row["status"] == "completed") for row in jobs)


def test_ids_are_unique_within_and_across_tables(data: DemoData) -> None:
    ids = [row["id"] for rows in data.tables.values() for row in rows]
    assert len(set(ids)) == len(ids)


def test_the_same_seed_gives_the_same_data_in_another_process(demo: DemoData) -> None:
    program = "from content_orchestration_tests.unit import test_demo_data as t; print(t.fingerprint(t.generate()))"
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == fingerprint(demo)


def test_another_seed_gives_other_rows(demo: DemoData) -> None:
    other = generate(DEFAULT_SEED + 1)
    assert fingerprint(other) != fingerprint(demo)
    assert not {row["id"] for row in legacy_rows(other)} & {row["id"] for row in legacy_rows(demo)}
