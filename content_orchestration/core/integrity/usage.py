"""Whether the usage counters of every tenant are what is stored. The rule is the ledger's, `core/quota/usage.py`."""

import time
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.fields import shown
from content_orchestration.core.integrity.findings import SAMPLES, Comparison, Difference, Kind
from content_orchestration.core.integrity.looking import Clock, looking, tenant_uuid
from content_orchestration.core.quota.usage import tenant_ids, untrue_counters

_TABLE = "content_quota_usage"


def compare_usage(database: Database, *, tenant_id: str | None = None, clock: Clock = time.monotonic) -> Comparison:
    """Compare the counters of a tenant, or of all, with what is stored: one difference a tenant. Counted are tenants.

    The ledger names 20 counters at most; where it named so many, the notes say that there may be more.
    Raises `Permanent` for a malformed tenant id; where PostgreSQL cannot be read the comparison is unknown.
    """
    chosen = tenant_uuid(tenant_id)
    with looking("usage", clock) as comparison:
        counters = untrue_counters(database)
        untrue: dict[str, list[dict[str, Any]]] = {}
        for row in counters:
            told = {name: shown(value) for name, value in row.items() if name != "tenant_id"}
            untrue.setdefault(str(row["tenant_id"]), []).append(told)
        tenants = {tenant for tenant in {*tenant_ids(database), *untrue} if chosen is None or tenant == str(chosen)}
        comparison.attempted = comparison.compared = len(tenants)
        for tenant in sorted(tenants & untrue.keys()):
            detail = {"counters": untrue[tenant]}
            comparison.differences.append(Difference(Kind.USAGE_DIFFERS, _TABLE, tenant, tenant, detail))
        if len(counters) >= SAMPLES:
            comparison.notes["truncated"] = f"{len(counters)} counters are named, there may be more"
    return comparison
