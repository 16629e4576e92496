"""The resource inside Dagster: one client a run, closed after it, and no key in what Dagster stores or shows."""

import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.repository_definition import RepositoryDefinition
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value

from content_orchestration.core.errors import Permanent
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import get_settings

KEY = "key-that-must-not-show-5d1e"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ZERODB_API_KEY", KEY)
    monkeypatch.setenv("ZERODB_CONCURRENCY", "3")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_the_key_is_not_in_what_dagster_serializes() -> None:
    resource = ZeroDBResource.from_settings(get_settings())
    resource.client()

    @dg.asset
    def bodies(zerodb: ZeroDBResource) -> None:
        """Uses the resource."""

    definitions = dg.Definitions(assets=[bodies], resources={"zerodb": resource})
    repository = definitions.get_repository_def()
    assert isinstance(repository, RepositoryDefinition)
    shown = serialize_value(RepositorySnap.from_def(repository))
    assert "ZERODB_PROJECT_ID" in shown, "the resource must be in the snapshot for this test to mean something"
    for text in (shown, repr(resource), str(resource), str(resource._resolved_config_dict), resource.model_dump_json()):
        assert KEY not in text
    resource.close()


def test_one_client_a_run_closed_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[ZeroDBClient] = []
    seen: list[ZeroDBClient] = []
    monkeypatch.setattr(ZeroDBClient, "close", lambda self: closed.append(self))

    @dg.op
    def use(zerodb: ZeroDBResource) -> None:
        assert zerodb.client() is zerodb.client()
        seen.append(zerodb.client())
        assert not closed

    @dg.op
    def fail(zerodb: ZeroDBResource) -> None:
        seen.append(zerodb.client())
        raise Permanent("on purpose")

    @dg.job(executor_def=dg.in_process_executor)
    def both() -> None:
        use()
        fail()

    result = both.execute_in_process(
        resources={"zerodb": ZeroDBResource.from_settings(get_settings())}, raise_on_error=False
    )
    assert not result.success
    assert len(seen) == 2
    assert set(map(id, closed)) == set(map(id, seen))


def test_the_values_of_the_settings_reach_the_client() -> None:
    resource = ZeroDBResource.from_settings(get_settings())
    assert (resource.base_url, resource.project_id) == ("http://127.0.0.1:9070/api/v1", "local")
    assert (resource.timeout, resource.concurrency) == (30.0, 3)
    first = resource.client()
    resource.close()
    assert resource.client() is not first
    resource.close()


def test_importing_the_resource_does_not_load_the_http_library() -> None:
    code = (
        "import sys, dagster; before = set(sys.modules); import content_orchestration.resources.zerodb; "
        "print([m for m in ('httpx', 'stamina', 'orjson') if m in sys.modules and m not in before])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "[]"
