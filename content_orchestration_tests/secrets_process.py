"""Runs jobs of the project one after another in one process, as tests of leaks start it; whatever fails goes on.

`python -m content_orchestration_tests.secrets_process '{"jobs": […], "tenants": […]}'`. Waits between attempts are
taken out: what is looked for is what errors say, and not how patient they are.
"""

import json
import sys
import time
import traceback
from typing import Any

import dagster as dg
import stamina

from content_orchestration import policies
from content_orchestration.resources import postgres_client

stamina.set_active(False)
policies.RETRY = dg.RetryPolicy(max_retries=1, delay=0)
postgres_client._CONNECT_SECONDS = 1.0


def main() -> None:
    """Print what a curious person could print, then run the jobs; the last line says what became of each."""
    from content_orchestration.definitions import defs
    from content_orchestration.settings import get_settings

    wanted = json.loads(sys.argv[1])
    settings = get_settings()
    repository = defs().get_repository_def()
    sys.stdout.write(f"{settings!r}\n{settings}\n{settings.model_dump()}\n{settings.model_dump_json()}\n")
    for resource in repository.get_top_level_resources().values():
        sys.stdout.write(f"{resource!r}\n{resource}\n")
    _make_clients_and_print_them(settings)
    outcomes: dict[str, bool] = {}
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenants", wanted["tenants"])
        for each in wanted["jobs"]:
            began = time.monotonic()
            outcomes[each["job"]] = run(repository, instance, each)
            sys.stderr.write(f"{each['job']}: {time.monotonic() - began:.1f} s\n")
    sys.stdout.write(f"\n{json.dumps(outcomes)}\n")


def run(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, each: dict[str, Any]) -> bool:
    """Whether the job succeeded. An error that leaves Dagster is printed with its whole traceback."""
    try:
        result = repository.get_job(each["job"]).execute_in_process(
            instance=instance, run_config=each.get("config"), tags=each.get("tags"), raise_on_error=False,
            partition_key=each.get("partition"),
        )  # fmt: skip
    except Exception:  # noqa: BLE001  (what it says is what the test is about)
        traceback.print_exc()
        return False
    return result.success


def _make_clients_and_print_them(settings: Any) -> None:
    from content_orchestration.resources.object_store import stores_of
    from content_orchestration.resources.postgres_client import PostgresClient
    from content_orchestration.resources.zerodb_client import ZeroDBClient

    database = PostgresClient(settings.database_url)
    sys.stdout.write(f"{database!r} {database.address} {stores_of(settings)!r}\n")
    for make in (
        lambda: ZeroDBClient(settings.zerodb_url, "p", settings.zerodb_key),
        lambda: ZeroDBClient(settings.zerodb_url, "p", settings.zerodb_key + " \n"),
        lambda: ZeroDBClient("http://[" + settings.zerodb_url, "p", settings.zerodb_key),
    ):
        try:
            sys.stdout.write(f"{make()!r}\n")
        except Exception:  # noqa: BLE001  (what it says is what the test is about)
            traceback.print_exc()


if __name__ == "__main__":
    main()
