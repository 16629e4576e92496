"""Tags that are asked for later: a model that fails holds nothing up, is asked again, and is given up in the end."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.describe import Described
from content_orchestration.core.media.media_file import FIRST_WAIT, LONGEST_WAIT, file_name, wait_after
from content_orchestration.core.media.outcomes import RunReport
from content_orchestration.core.media.pipeline import process_waiting
from content_orchestration.core.media.tagging import MOST_ATTEMPTS, tag_waiting
from content_orchestration.core.media.tags import Tag
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.waiting import waiting_tenants
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.stored_files import FilesWorld, picture
from content_orchestration_tests.usage_rows import run


class Model:
    """A vision model that answers, or fails with what it was given. It opens the picture as a real one would."""

    name = "test:model"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.seen: list[tuple[int, int] | None] = []

    def tags(self, file: Described, filename: str, picture: Path | None) -> tuple[Tag, ...]:
        assert picture is not None
        assert picture.suffix == ".jpg"
        self.seen.append(Image.open(picture).size)
        if self.failures:
            raise self.failures.pop(0)
        return (Tag("shoe", "vision", 0.9),)


@pytest.fixture
def world(database_url: str, settings: Settings, zerodb_project: str, tmp_path: Path) -> Iterator[FilesWorld]:
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, zerodb_project, settings.zerodb_key, timeout=10.0) as documents,
        ImageWorker() as worker,
    ):
        ensure_collections(documents)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        yield FilesWorld(database, documents, TenantStores((tmp_path / "media").as_uri()), worker, scratch)


def due(world: FilesWorld) -> None:
    run(world.database, "UPDATE media_processing SET tags_after = now() WHERE tags_after IS NOT NULL")


def sources(world: FilesWorld) -> set[str]:
    return {tag["source"] for tag in world.rows()[0]["metadata"]["tags"]}


def described(world: FilesWorld) -> RunReport:
    return process_waiting(world.database, world.processor(ask_model=True), world.tenant_id, most=9)


def asked(world: FilesWorld, model: Model | None, most: int = 9) -> RunReport:
    return tag_waiting(world.database, world.stores, model, world.tenant_id, most=most, scratch=world.scratch)


def test_a_model_that_fails_holds_nothing_up_and_is_asked_again(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1), "green-car.jpg", rows=2)
    assert described(world).outcomes == {"made": 1}
    assert (world.rows()[0]["status"], sources(world)) == ("stored", {"heuristic"})
    assert waiting_tenants(world.database, tags=True) == {str(world.tenant_id): 1}
    assert waiting_tenants(world.database, tags=False) == {}, "there is nobody to ask"
    assert asked(world, None).attempted == 0

    model = Model(Transient("busy"))
    before = world.rows()
    failed = asked(world, model)
    assert (failed.outcomes, failed.failures[0].detail) == ({"retry_later": 1}, "busy")
    assert world.rows() == before
    state = world.state(sha256)
    assert (state["tags_state"], state["tags_attempts"], state["tags_error"]) == ("wanted", 1, "busy")
    assert asked(world, model).attempted == 0, "not before its time"
    assert waiting_tenants(world.database, tags=True) == {}

    due(world)
    assert asked(world, model).outcomes == {"tagged": 1}
    assert sources(world) == {"vision", "heuristic"}
    assert world.rows()[0]["metadata"] == world.rows()[1]["metadata"]
    assert {k: v for k, v in world.rows()[0]["metadata"].items() if k != "tags"} == {
        k: v for k, v in before[0]["metadata"].items() if k != "tags"
    }
    assert model.seen == [(400, 300)] * 2
    due(world)
    assert asked(world, model).attempted == 0

    other = world.processor(VariantSettings(sizes=(99,)), ask_model=True)
    process_waiting(world.database, other, world.tenant_id, most=9, remake=True)
    assert sources(world) == {"vision", "heuristic"}, "other sizes are no reason to pay a model again"
    assert world.state(sha256)["tags_state"] == "done"


def test_a_model_that_never_answers_is_given_up_and_the_local_tags_stay(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    described(world)
    model = Model(*[Transient("down")] * 20)
    outcomes = []
    for _ in range(MOST_ATTEMPTS + 1):
        due(world)
        outcomes += list(asked(world, model).outcomes)
    assert outcomes == ["retry_later"] * (MOST_ATTEMPTS - 1) + ["kept_local_tags"]
    assert (world.state(sha256)["tags_state"], sources(world)) == ("done", {"heuristic"})


def test_a_model_that_is_down_is_left_alone_after_three_files(world: FilesWorld) -> None:
    for seed in range(5):
        world.stored(picture(seed, 200, 150))
    described(world)
    model = Model(*[Transient("down")] * 20)
    report = asked(world, model)
    assert (report.outcomes, report.left) == ({"retry_later": 3}, 2)
    assert asked(world, Model(), most=1).outcomes == {"tagged": 1}


def test_a_refusal_is_not_asked_again(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    described(world)
    assert asked(world, Model(Permanent("policy"))).outcomes == {"kept_local_tags": 1}
    state = world.state(sha256)
    assert (state["tags_state"], state["tags_error"], sources(world)) == ("done", "policy", {"heuristic"})


def test_a_picture_whose_variant_is_gone_gets_what_is_known_without_it(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    described(world)
    for row in world.variants(sha256):
        world.store.delete(row["key"])
    model = Model()
    assert asked(world, model).outcomes == {"tagged": 1}
    assert model.seen == []
    assert sources(world) == {"heuristic"}


def test_tags_of_a_file_that_was_described_anew_meanwhile_are_dropped(world: FilesWorld) -> None:
    world.stored(picture(1))
    described(world)

    class Slow(Model):
        def tags(self, file: Described, filename: str, picture: Path | None) -> tuple[Tag, ...]:
            run(world.database, "UPDATE media_processing SET tags_state = 'done'")
            return super().tags(file, filename, picture)

    before = world.rows()
    assert asked(world, Slow()).outcomes == {"gone": 1}
    assert world.rows() == before


def test_what_is_no_picture_is_never_shown_to_a_model(world: FilesWorld) -> None:
    world.stored(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", "terms.pdf", kind="document")
    described(world)
    assert asked(world, Model()).attempted == 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://cdn.example/a/b%20c.jpg?x=1#y", "b c.jpg"),
        ("https://cdn.example", "file"),
        ("plain name?.jpg", "plain name?.jpg"),
        ("inbox:a/b.jpg", "b.jpg"),
        ("", "file"),
    ],
)
def test_a_file_is_called_by_the_end_of_its_address(address: str, name: str) -> None:
    assert file_name(address) == name


def test_waits_double_up_to_a_longest_one() -> None:
    waits = [wait_after(attempts) for attempts in range(40)]
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT == timedelta(hours=6)
