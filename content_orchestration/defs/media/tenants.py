"""What the media assets share: tenants one after another, each recorded as it finishes, with progress shown."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

import dagster as dg
from tqdm import tqdm

from content_orchestration.core.database import Database
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.integrity.looking import as_uuid
from content_orchestration.core.media.outcomes import Step
from content_orchestration.core.media.pipeline import OnStep
from content_orchestration.core.media.waiting import stored_of
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.presentation import table_metadata

Work = Callable[[UUID, OnStep], dict[str, Any]]

_COUNTED = {"media_objects": "files", "media_variants": "variants"}


def each_tenant(
    context: dg.AssetExecutionContext, database: Database, table: str, work: Work, *, leave_to_others: bool = False
) -> None:
    """Do the work of each chosen tenant. One whose work cannot be done is left until the others are.

    leave_to_others: where another run does the same for a tenant at this moment, that is noted and no failure.
    Raises the first `Permanent` or `AlreadyRunning` at the end, `Transient` at once: a server is down for all of them.
    """
    columns = columns_of(database, table)
    failed: dict[str, Permanent | AlreadyRunning] = {}
    with tqdm(desc=context.asset_key.to_user_string(), unit="file", file=sys.stderr) as bar:
        for tenant in context.partition_keys:
            try:
                tenant_id = as_uuid(tenant, "partition")
                metadata = work(tenant_id, _progress(bar))
            except (Permanent, AlreadyRunning) as error:
                if not (leave_to_others and isinstance(error, AlreadyRunning)):
                    failed[tenant] = error
                    continue
                metadata = {"left_to_another_run": str(error)}
            stored = dict(stored_of(database, tenant_id))
            metadata = table_metadata(table, columns, stored[_COUNTED[table]]) | stored | metadata
            # Recorded as each tenant finishes, so that a crash keeps what was done; and once more on the run's event.
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=tenant, metadata=metadata))
            context.add_asset_metadata(metadata, partition_key=tenant)
    for tenant, first in failed.items():
        others = f" ({len(failed) - 1} more tenants failed)" if len(failed) > 1 else ""
        kind = AlreadyRunning if isinstance(first, AlreadyRunning) else Permanent
        raise kind(f"tenant {tenant}: {first}{others}") from first


def _progress(bar: "tqdm[NoReturn]") -> OnStep:
    def advance(step: Step) -> None:
        bar.update()

    return advance
