"""How the parts of cleanup run in Dagster: their config, one pass, what the UI shows of it, and how a refusal fails."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.passes import run_pass
from content_orchestration.core.database import Database
from content_orchestration.core.quota.notice_text import size
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.failures import explained
from content_orchestration.policies import OWNERS, POOL_CLEANUP, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.cleanup import CleanupResource
from content_orchestration.resources.postgres import PostgresResource


class CleanupConfig(dg.Config):
    """What every part of cleanup asks for."""

    dry_run: bool = Field(
        default=True,
        description="True looks, counts and shows what would go; nothing is removed. False removes it. The schedules "
        "say false themselves; whoever launches by hand says it too.",
    )
    limit: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most that one run takes up, in a dry run too; the rest waits for the next.",
    )


_SUMS = ("scanned", "candidates", "quarantined", "restored", "deleted", "freed_bytes", "left")
# A part of cleanup: what it works with, the Dagster run, and what was asked for.
Part = Callable[[CleanupResource, str, CleanupConfig], Cleaned | Sequence[Cleaned]]


def cleanup_asset(
    name: str,
    parts: Mapping[str, Part],
    *,
    table: str,
    deps: Sequence[Any],
    kinds: set[str],
    description: str,
    pool: str = POOL_CLEANUP,
    beside_others: Collection[str] = (),
) -> dg.AssetsDefinition:
    """An asset that makes a pass of each of its parts when it is materialized. `table` is what they work on.

    Its row count is what is left to do. In one pool two cleanups never overlap, and the lock of `run_pass` holds
    outside of it too, except for the parts named in `beside_others`.
    """

    @dg.asset(
        name=name,
        group_name="cleanup",
        deps=deps,
        kinds=kinds,
        owners=OWNERS,
        pool=pool,
        retry_policy=RETRY,
        description=description,
    )
    def cleaned_asset(
        context: dg.AssetExecutionContext, config: CleanupConfig, postgres: PostgresResource, cleanup: CleanupResource
    ) -> dg.MaterializeResult[None]:
        run_id = context.run.run_id
        done: list[Cleaned] = []

        def work(part: Part, kind: str) -> Cleaned:
            cleaned = part(cleanup, run_id, config)
            each = [cleaned] if isinstance(cleaned, Cleaned) else list(cleaned)
            done.extend(each)
            return together(kind, each)

        for kind, part in parts.items():
            alone = kind not in beside_others
            one_pass(context, postgres, kind, config.dry_run, partial(work, part, kind), alone=alone)
        metadata = shown_of_table(postgres.client(), table, together(name, done))
        if len(done) > 1:
            metadata["parts"] = parts_of(done)
        return dg.MaterializeResult(metadata=metadata)

    return cleaned_asset


def one_pass(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    postgres: PostgresResource,
    kind: str,
    dry_run: bool,
    work: Callable[[], Cleaned],
    *,
    alone: bool = True,
) -> Cleaned:
    """Run one pass. A rule that stops it fails the run with its name, is not retried, and is in the audit."""
    with explained():
        try:
            cleaned = run_pass(
                postgres.client(), kind, run_id=context.run.run_id, dry_run=dry_run, work=work, alone=alone
            )
        except Refused as refusal:
            raise dg.Failure(
                description=str(refusal), metadata={"kind": "refused", "rule": refusal.rule}, allow_retries=False
            ) from refusal
    context.log.info(told(kind, cleaned))
    return cleaned


def together(kind: str, parts: Sequence[Cleaned]) -> Cleaned:
    """Several passes as one: sums, the greatest age, some samples of each."""
    if len(parts) == 1:
        return parts[0]
    ages = [each.oldest_seconds for each in parts if each.oldest_seconds is not None]
    share = max(1, MOST_SAMPLES // len(parts))
    return Cleaned(
        kind,
        dry_run=any(each.dry_run for each in parts),
        **{name: sum(getattr(each, name) for each in parts) for name in _SUMS},
        skipped=sum((each.skipped for each in parts), Counter()),
        oldest_seconds=max(ages, default=None),
        samples=[sample for each in parts for sample in each.samples[:share]],
        seconds=sum(each.seconds for each in parts),
    )


def parts_of(done: Sequence[Cleaned], names: Sequence[str] = ()) -> dg.JsonMetadataValue:
    """The counts of each of several passes, under their kinds or these names."""
    told = zip(names or [each.kind for each in done], done, strict=True)
    return dg.MetadataValue.json([{"part": name} | _counts(each) for name, each in told])


def told(kind: str, cleaned: Cleaned) -> str:
    """One sentence for the run's log."""
    done = {"quarantined": cleaned.quarantined, "brought back": cleaned.restored, "deleted": cleaned.deleted}
    parts = [f"{cleaned.candidates:,} candidates", *(f"{count:,} {name}" for name, count in done.items() if count)]
    skipped = [f"{count:,} left alone: {reason}" for reason, count in sorted(cleaned.skipped.items())]
    begun = f"{kind}, a dry run that removed nothing" if cleaned.dry_run else kind
    return f"{begun}: " + ", ".join([*parts, f"{size(cleaned.freed_bytes)} freed", f"{cleaned.left:,} left", *skipped])


def shown(cleaned: Cleaned) -> dict[str, Any]:
    """Counts, freed bytes, what is left, the age of the oldest, and a table of samples."""
    return values(_counts(cleaned)) | {"freed": size(cleaned.freed_bytes), "samples": sample_table(cleaned.samples)}


def _counts(cleaned: Cleaned) -> dict[str, Any]:
    return {name: value for name, value in cleaned.as_metadata().items() if name != "samples"}


def shown_of_table(database: Database, table: str, cleaned: Cleaned) -> dict[str, Any]:
    """The same beside the table that the part works on."""
    return table_metadata(table, columns_of(database, table), cleaned.left) | shown(cleaned)


def sample_table(samples: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Samples as a table of text; a column that a sample lacks is empty."""
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    records = [
        dg.TableRecord({name: "" if sample.get(name) is None else str(sample[name]) for name in names})
        for sample in samples
    ]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name, "string") for name in names]))
