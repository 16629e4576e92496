"""How each disaster is recovered from: the steps of the runbook, by the same engines. Returns what they reported."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from content_orchestration.core.drill.detection import Finding
from content_orchestration.core.drill.world import World
from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest, Scope
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.missing import recreate_missing
from content_orchestration.core.schema.postgres import upgrade

Found = Mapping[str, Finding]
"""What each detector found, by its name."""

Recovery = Callable[[World, Found], Mapping[str, Any]]


def after_dropped_tables(world: World, found: Found) -> Mapping[str, Any]:
    """Create the tables anew, fill them from the last closed sync. ZeroDB was not hit."""
    report = recreate_missing(world.scratch.database)
    return {**report.as_metadata(), **_restore(world, RestoreRequest(tiers="postgres"))}


def after_empty_zerodb(world: World, found: Found) -> Mapping[str, Any]:
    """Documents from BigQuery; the rows were not hit."""
    return _restore(world, RestoreRequest(tiers="zerodb"))


def after_deleted_tenant(world: World, found: Found) -> Mapping[str, Any]:
    """The tenant that the change log names, as of the second before."""
    facts = _facts(found, "no_transaction_touched_most_rows")
    scope = Scope.tenants(facts["tenant_ids"])
    return _restore(world, RestoreRequest(scope=scope, as_of=facts["began"] - timedelta(seconds=1)))


def after_bad_update(world: World, found: Found) -> Mapping[str, Any]:
    """Everything as of the second before the update that the change log names; what is there is newer, and wrong."""
    as_of = _facts(found, "no_transaction_touched_most_rows")["began"] - timedelta(seconds=1)
    return _restore(world, RestoreRequest(as_of=as_of, tiers="postgres", on_conflict="overwrite"))


def after_corrupt_bodies(world: World, found: Found) -> Mapping[str, Any]:
    """The items that the scrub names, from BigQuery; a body that has not even its own hash gives way by itself."""
    scope = Scope.content_ids(_facts(found, "bodies_are_true")["content_ids"])
    return _restore(world, RestoreRequest(scope=scope, tiers="zerodb"))


def after_losing_both(world: World, found: Found) -> Mapping[str, Any]:
    """Schema and collections anew, then everything from the last closed sync; the next sync settles the open one."""
    world.build_platform()
    upgrade(world.scratch.database)
    ensure_collections(world.scratch.store)
    return _restore(world, RestoreRequest())


def _facts(found: Found, name: str) -> Mapping[str, Any]:
    """What the check with this name found. Raises `Permanent` where it found nothing."""
    if name not in found:
        raise Permanent(f"{name} found nothing, so nobody knows what to restore, or to which moment")
    return found[name].facts


def _restore(world: World, request: RestoreRequest) -> Mapping[str, Any]:
    """Plan and run, as an operator does: the run names the plan that was reviewed."""
    restorer = Restorer(
        world.scratch.database, world.scratch.store, world.scratch.warehouse, run_id=world.run_id, sleep=world.sleep
    )
    plan = restorer.plan(request)
    return {"plan": plan.as_metadata(), "restore": restorer.run(request, plan.plan_hash).as_metadata()}
