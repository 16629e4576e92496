"""Is the promise kept? Counters are what is stored, nobody is above a limit, no reservation outlives its expiry."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.limits import over_limit, overdue, who
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.failures import unknown
from content_orchestration.resources.postgres import PostgresResource

_SAMPLE = 20
# The reaper looks every two minutes; after five rounds it does not run.
_REAPED_WITHIN_SECONDS = 600.0


@dg.asset_check(asset=storage_usage, name="counters_equal_truth")
def counters_equal_truth(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Every tenant's, brand's and month's counters are there and are what the rows add up to, as of one snapshot."""
    try:
        untrue = untrue_counters(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not untrue,
        description=f"{len(untrue)} counters differ; materialize their tenants' partitions"
        if untrue
        else "all tenants agree",
        metadata={"differences": dg.MetadataValue.json(untrue)},
    )


@dg.asset_check(asset=storage_usage, name="no_tenant_is_above_its_limit")
def no_tenant_is_above_its_limit(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No tenant and no brand stores more than its limit. Only a warning where the limit was lowered below the use."""
    try:
        found = over_limit(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    lowered = all(row["lowered"] for row in found)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN if lowered else dg.AssetCheckSeverity.ERROR,
        description=f"{len(found)} above their limit: " + "; ".join(who(row) for row in found[:3])
        if found
        else "nobody is above a limit",
        metadata={"above": dg.MetadataValue.json(found[:_SAMPLE])},
    )


@dg.asset_check(asset=storage_usage, name="no_reservation_outlives_its_expiry")
def no_reservation_outlives_its_expiry(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Expired reservations are reaped within ten minutes: until then they hold room that nobody uses."""
    try:
        found = overdue(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    passed = found.oldest_seconds < _REAPED_WITHIN_SECONDS
    return dg.AssetCheckResult(
        passed=passed,
        description=f"{found.reservations} expired reservations hold {found.bytes} bytes, the oldest for "
        f"{found.oldest_seconds:.0f} s"
        + ("" if passed else ": is the sensor expired_reservations on? Launch quota_upkeep"),
        metadata={"reservations": found.reservations, "bytes": found.bytes, "oldest_seconds": found.oldest_seconds},
    )
