"""Media as Dagster runs it: sensors, runs by tenant, rows and variants, checks, usage, other sizes, and BigQuery."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.local.ports import free_ports
from content_orchestration.policies import TENANTS
from content_orchestration.resources import object_store_local
from content_orchestration.resources.media import MediaResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings
from content_orchestration_tests.e2e.environment import environment, once_an_environment
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.stored_files import picture
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.usage_rows import brand, media, run, tenant

CHECKS = {
    "media_files": ["every_file_has_its_bytes_and_hash", "no_file_failed"],
    "media_variants": ["every_variant_has_its_source", "no_file_is_without_a_row"],
}


@once_an_environment
def loaded() -> dg.Definitions:
    """The project's definitions."""
    return defs()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def state(tiers: Tiers, tmp_path: Path) -> Iterator[Path]:
    """The folder of the local stack, in the environment that leads the definitions to these tiers."""
    values = tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "MEDIA_VARIANT_SIZES": "150,400"}
    with environment(values):
        yield tmp_path


@pytest.fixture
def owner(tiers: Tiers, instance: dg.DagsterInstance, state: Path) -> str:
    """A tenant with a partition."""
    made = tenant(tiers.database, "business")
    instance.add_dynamic_partitions(str(TENANTS.name), [made])
    return made


def drop(state: Path, owner: str, name: str, data: bytes) -> Path:
    """A file in the tenant's drop folder, there for a minute."""
    path = state / "media" / "inbox" / owner / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


def tick(instance: dg.DagsterInstance, name: str, cursor: str | None = None) -> Any:
    repository = loaded().get_repository_def()
    postgres = PostgresResource()
    zerodb = ZeroDBResource.from_settings(get_settings())
    resources = {"postgres": postgres, "media": MediaResource(postgres=postgres, zerodb=zerodb)}
    with dg.build_sensor_context(
        # The daemon hands a reference over, too: partitions are known to the tick through it.
        instance=instance,
        instance_ref=instance.get_ref(),
        repository_def=repository,
        resources=resources,
        cursor=cursor,
    ) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def take_in(
    instance: dg.DagsterInstance, keys: list[str], job: str = "take_files_in", fails: bool = False, **config: Any
) -> dg.ExecuteInProcessResult:
    return loaded().resolve_job_def(job).execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        run_config={"ops": {name: {"config": given} for name, given in config.items()}},
        raise_on_error=not fails,
    )  # fmt: skip


def outcomes(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    result = loaded().resolve_job_def("check_files").execute_in_process(instance=instance)
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (*_, event) = result.asset_materializations_for_node(asset)
    return {key: value.value for key, value in event.metadata.items()}


def rows(tiers: Tiers, owner: str) -> list[dict[str, Any]]:
    return run(tiers.database, "SELECT * FROM media_assets WHERE tenant_id = %s ORDER BY url", [owner])


def test_a_dropped_picture_is_stored_sized_described_and_replicated(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str, state: Path
) -> None:
    mark = brand(tiers.database, owner)
    drop(state, owner, f"{mark}/red-shoe.jpg", picture(1))
    drop(state, owner, "copy.jpg", picture(1))
    drop(state, owner, "broken.jpg", picture(2)[:900])
    asked = tick(instance, "media_dropped")
    assert [request.partition_key for request in asked.run_requests] == [owner]
    result = take_in(instance, [owner])
    assert instance.get_materialized_partitions(dg.AssetKey("media_usage")) == {owner}

    files = shown(result, "media_files")
    assert (files["inbox_registered"], files["outcomes"]["duplicate"], files["outcomes"]["stored"]) == (3, 1, 1)
    assert files["failed"] == 1
    variants = shown(result, "media_variants")
    assert (variants["outcomes"], variants["variants"]) == ({"made": 1}, 2)
    assert variants["made_with"].startswith("150,400 q85")
    assert variants["pictures"].count("data:image/jpeg;base64,") == 1
    assert (variants["dagster/row_count"], variants["dagster/table_name"]) == (2, "media_variants")
    usage = shown(result, "media_usage")
    assert usage["status"] == "ok"
    assert {each["brand_id"]: each["images"]["files"] for each in usage["usage"]}[mark] == 1

    by_name = {row["url"].rpartition("/")[2].partition(":")[2] or row["url"]: row for row in rows(tiers, owner)}
    stored = [row for row in by_name.values() if row["status"] == "stored"]
    assert len(stored) == 2
    assert stored[0]["metadata"]["file"] == stored[1]["metadata"]["file"]
    assert [row["status"] for row in by_name.values()].count("failed") == 1

    assert tick(instance, "media_dropped").skip_message == "1 drop folders hold nothing new"
    assert tick(instance, "media_waiting").skip_message == "no file waits"
    assert untrue_counters(tiers.database) == []
    compared = compare_media(tiers.database, tiers.store)
    assert (compared.outcome, compared.differences) == ("agree", [])
    assert {name: each.passed for name, each in outcomes(instance).items()} == {
        "every_file_has_its_bytes_and_hash": True, "no_file_failed": False,
        "every_variant_has_its_source": True, "no_file_is_without_a_row": True,
    }  # fmt: skip

    sync(tiers)
    view = tiers.warehouse.qualified("content_media_current")
    replicated = {
        row["entity_id"]: json.loads(row["row_json"])
        for row in tiers.warehouse.query(f"SELECT entity_id, row_json FROM `{view}`")
    }
    for row in rows(tiers, owner):
        copy = replicated[str(row["id"])]
        assert (copy["status"], copy["sha256"], copy["metadata"]) == (row["status"], row["sha256"], row["metadata"])


def test_the_sensor_asks_once_for_each_tenant_whose_rows_wait(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str
) -> None:
    unknown = tenant(tiers.database, "free", "no partition yet")
    for each in (owner, unknown):
        media(tiers.database, each, "image", 5)
    asked = tick(instance, "media_waiting")
    assert [request.partition_key for request in asked.run_requests] == [owner]
    instance.create_run_for_job(
        loaded().resolve_job_def("take_files_in"), tags={"dagster/partition": owner},
        status=dg.DagsterRunStatus.STARTED,
    )  # fmt: skip
    skipped = tick(instance, "media_waiting")
    assert skipped.run_requests == []
    assert skipped.skip_message == "2 files of 2 tenants wait; each has a run already, or no partition yet"


def test_references_of_migrated_rows_wait_until_somebody_asks(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str
) -> None:
    media(tiers.database, owner, "image", 5)
    run(tiers.database, "UPDATE media_assets SET source = 'campaign_assets:1:media:0', url = 'https://cdn.invalid/a'")
    assert tick(instance, "media_waiting").skip_message == "no file waits"
    assert shown(take_in(instance, [owner]), "media_files")["attempted"] == 0
    assert [row["status"] for row in rows(tiers, owner)] == ["referenced"]
    assert all(each.passed for each in outcomes(instance).values()), "nothing is stored, and nothing is wrong"

    def ask(**config: Any) -> dict[str, Any]:
        result = (
            loaded()
            .resolve_job_def("ask_for_files")
            .execute_in_process(
                instance=instance, run_config={"ops": {"ask_for_references": {"config": {"tenant_id": owner} | config}}}
            )
        )
        (event,) = [each for each in result.all_events if each.event_type_value == "STEP_OUTPUT"]
        return {key: value.value for key, value in event.event_specific_data.metadata.items()}

    assert ask()["references"] == 1
    assert tick(instance, "media_waiting").skip_message == "no file waits", "a dry run writes nothing"
    assert ask(dry_run=False) == {"outcome": "asked", "references": 1, "failed_rows_again": 0}
    assert [request.partition_key for request in tick(instance, "media_waiting").run_requests] == [owner]


def test_other_sizes_are_a_backfill_of_the_chosen_tenants(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str, state: Path
) -> None:
    other = tenant(tiers.database, "free")
    instance.add_dynamic_partitions(str(TENANTS.name), [other])
    for each, seed in ((owner, 1), (other, 2)):
        drop(state, each, "a.jpg", picture(seed))
    take_in(instance, [owner, other])
    sizes = "SELECT tenant_id::text AS tenant, array_agg(width ORDER BY width) AS widths FROM media_variants GROUP BY 1"
    assert {row["tenant"]: row["widths"] for row in run(tiers.database, sizes)} == {
        owner: [150, 400],
        other: [150, 400],
    }
    again = take_in(
        instance, [owner, other], job="make_variants", media_variants={"sizes": [300], "quality": 70, "remake": True}
    )
    assert {row["tenant"]: row["widths"] for row in run(tiers.database, sizes)} == {owner: [300], other: [300]}
    assert shown(again, "media_variants")["outcomes"] == {"remade": 1}
    later = take_in(instance, [owner, other])
    assert shown(later, "media_variants")["attempted"] == 0, "the usual run leaves them as they were asked for"
    strays = outcomes(instance)["no_file_is_without_a_row"]
    assert strays.passed
    assert strays.metadata["superseded_files"].value == 4


def test_sizes_that_cannot_be_are_a_final_failure(instance: dg.DagsterInstance, owner: str) -> None:
    result = take_in(instance, [owner], job="make_variants", fails=True, media_variants={"sizes": [1]})
    failure = result.failure_data_for_node("media_variants")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "sizes are [1]" in str(failure.user_failure_data.description)
    record = instance.get_run_by_id(result.run_id)
    assert record is not None
    assert record.tags[PERMANENT_TAG] == "true"


def test_a_tenant_that_another_run_works_on_is_left_to_it_unless_other_sizes_were_asked_for(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str, state: Path
) -> None:
    drop(state, owner, "a.jpg", picture(1))
    with tiers.database.advisory_lock(f"media_variants:{owner}"):
        result = take_in(instance, [owner])
        assert "media_variants" in shown(result, "media_variants")["left_to_another_run"]
        remade = take_in(instance, [owner], job="make_variants", fails=True, media_variants={"remake": True})
    assert [row["status"] for row in rows(tiers, owner)] == ["stored"]
    failure = remade.failure_data_for_node("media_variants")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "already running" in str(failure.user_failure_data.description)


def test_a_tenant_whose_work_cannot_be_done_fails_after_the_others_are_done(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str, state: Path
) -> None:
    instance.add_dynamic_partitions(str(TENANTS.name), ["no-uuid"])
    drop(state, owner, "a.jpg", picture(1))
    keys = instance.get_dynamic_partitions(str(TENANTS.name))
    result = take_in(instance, keys, fails=True)
    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("media_files")) == {owner}
    assert [row["status"] for row in rows(tiers, owner)] == ["stored"]


def test_each_check_goes_red_for_its_own_damage(
    tiers: Tiers, instance: dg.DagsterInstance, owner: str, state: Path
) -> None:
    drop(state, owner, "a.jpg", picture(1))
    take_in(instance, [owner])

    def red() -> set[str]:
        found = outcomes(instance)
        names = {name for name, each in found.items() if not each.passed}
        assert {found[name].metadata["outcome"].value for name in names} <= {"different"}
        assert all(found[name].severity == dg.AssetCheckSeverity.ERROR for name in names)
        return names

    folder = state / "media" / f"tenant-{owner}"
    source = folder / rows(tiers, owner)[0]["sha256"]
    data = source.read_bytes()
    assert red() == set()
    source.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert red() == {"every_file_has_its_bytes_and_hash"}
    source.unlink()
    assert red() == {"every_file_has_its_bytes_and_hash", "every_variant_has_its_source"}
    source.write_bytes(data)
    stray = folder / "variants" / "stray.jpg"
    stray.write_bytes(b"x")
    os.utime(stray, (time.time() - 7200, time.time() - 7200))
    assert red() == {"no_file_is_without_a_row"}


def test_checks_that_cannot_look_are_unknown(
    instance: dg.DagsterInstance, owner: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(state, owner, "a.jpg", picture(1))
    take_in(instance, [owner])

    def down(self: object, *_: object) -> None:
        raise Transient("the store does not answer")

    for name in ("list", "read"):
        monkeypatch.setattr(object_store_local.LocalFolder, name, down)
    found = outcomes(instance)
    assert {name for name, each in found.items() if not each.passed} == {
        "every_file_has_its_bytes_and_hash", "every_variant_has_its_source", "no_file_is_without_a_row",
    }  # fmt: skip
    for name, each in found.items():
        if name != "no_file_failed":
            assert each.metadata["outcome"].value == "unknown"
            assert "the store does not answer" in str(each.description)


@pytest.mark.usefixtures("impatient")
def test_a_database_that_does_not_answer_makes_every_check_unknown(instance: dg.DagsterInstance, state: Path) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/x"
    with environment({"DATABASE_PUBLIC_URL": nowhere, "LOCAL_STATE_DIR": str(state)}):
        found = outcomes(instance)
    assert {each.metadata["outcome"].value for each in found.values()} == {"unknown"}
    assert len(found) == 4


def test_usage_says_how_near_a_brand_is_to_its_limit(tiers: Tiers, instance: dg.DagsterInstance, owner: str) -> None:
    wanted = {80: "ok", 81: "warning", 95: "warning", 96: "critical"}
    marks = {percent: brand(tiers.database, owner) for percent in wanted}
    for percent, mark in marks.items():
        media(tiers.database, owner, "video", percent, of=mark)
        run(
            tiers.database,
            "INSERT INTO storage_quotas (brand_id, tenant_id, limit_bytes, used_bytes) VALUES (%s, %s, 100, %s)",
            [mark, owner, percent],
        )
    run(tiers.database, "UPDATE media_assets SET source = id::text")
    usage = shown(take_in(instance, [owner]), "media_usage")
    assert (usage["status"], usage["brands_near_their_limit"], usage["media_bytes"]) == ("critical", 3, 352)
    by_brand = {each["brand_id"]: each for each in usage["usage"]}
    for percent, status in wanted.items():
        each = by_brand[marks[percent]]
        assert (each["status"], each["percent"], each["videos"]) == (status, percent, {"files": 1, "bytes": percent})
        assert f"| {marks[percent]} |" in usage["by_brand"]
    assert [each["status"] for each in usage["usage"]] == ["critical", "warning", "warning", "ok"]
