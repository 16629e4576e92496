"""What does each brand store, by category, and how near is it to its limit? One partition a tenant."""

from typing import Any
from uuid import UUID

import dagster as dg

from content_orchestration.core.media.pipeline import OnStep
from content_orchestration.core.media.usage import BrandUsage, brand_usage
from content_orchestration.defs.media.assets import media_variants
from content_orchestration.defs.media.tenants import each_tenant
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY, TENANTS
from content_orchestration.resources.postgres import PostgresResource

_GRAVITY = ("ok", "warning", "critical")
# Brands in one table; a tenant with more has them all in `storage_quotas`.
_MOST_BRANDS = 200


@dg.asset(
    group_name="media",
    deps=[media_variants],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={KIND_POSTGRES},
    owners=OWNERS,
    retry_policy=RETRY,
)
def media_usage(context: dg.AssetExecutionContext, postgres: PostgresResource) -> None:
    """Files and bytes of each brand by category, beside its limit: ok, warning above 80 %, critical above 95 %."""
    database = postgres.client()

    def count(tenant_id: UUID, advance: OnStep) -> dict[str, Any]:
        return _metadata(brand_usage(database, tenant_id))

    with explained():
        each_tenant(context, database, "media_objects", count)


def _metadata(brands: list[BrandUsage]) -> dict[str, Any]:
    status = max((each.status for each in brands), key=_GRAVITY.index, default="ok")
    shown = sorted(brands, key=lambda each: (-_GRAVITY.index(each.status), -each.used_bytes))[:_MOST_BRANDS]
    return {
        "status": status,
        "brands": len(brands),
        "brands_near_their_limit": sum(each.status != "ok" for each in brands),
        "media_files": sum(each.media_files for each in brands),
        "media_bytes": sum(each.media_bytes for each in brands),
        "by_brand": dg.MetadataValue.md(_table(shown)),
        "usage": dg.MetadataValue.json([each.as_metadata() for each in shown]),
    }


def _table(brands: list[BrandUsage]) -> str:
    names = list(brands[0].categories) if brands else []
    lines = [
        "| brand | " + " | ".join(names) + " | used | limit | % | status |",
        "|---" * (len(names) + 5) + "|",
    ]
    for each in brands:
        parts = " | ".join(f"{c.files} ({c.bytes / 2**20:.1f} MiB)" for c in each.categories.values())
        limit = "none" if each.limit_bytes is None else f"{each.limit_bytes / 2**30:.2f} GiB"
        percent = "" if each.percent is None else f"{each.percent:.1f}"
        lines.append(
            f"| {each.brand_id or 'no brand'} | {parts} | {each.used_bytes / 2**30:.2f} GiB | {limit} | {percent} | "
            f"{each.status} |"
        )
    return "\n".join(lines)
