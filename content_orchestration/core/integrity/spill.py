"""Whether every body in the spill has the hash and size that it was put there with, and rows that name it.

The spill is in PostgreSQL: the comparison is one statement, and the bodies are hashed where they are.
"""

import time
from contextlib import closing
from datetime import datetime, timedelta

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.documents import YOUNG
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.looking import Clock, looking, stream, tenant_uuid

_TABLE = "content_body_spill"


def compare_spill(
    database: Database,
    *,
    tenant_id: str | None = None,
    grace: timedelta,
    now: datetime,
    clock: Clock = time.monotonic,
) -> Comparison:
    """Compare the spill with the rows that name its bodies, of a tenant or all. Counted are bodies.

    A body that no row names counts when it is older than `grace`. Raises `Permanent` for a malformed tenant id; where
    PostgreSQL cannot be read the comparison is unknown.
    """
    values = {"tenant": tenant_uuid(tenant_id)}
    with looking("spill", clock) as comparison, closing(stream(database, "integrity/spill_rows", values)) as rows:
        for row in rows:
            comparison.attempted += 1
            detail = {"content_id": row["content_id"], "created_at": row["created_at"].isoformat()}
            key, tenant = row["zerodb_row_id"], row["tenant_id"]
            if row["own"] or row["of_rows"]:
                differing = {"body_and_its_record": row["own"], "record_and_rows": row["of_rows"]}
                comparison.differences.append(Difference(Kind.SPILL_DIFFERS, _TABLE, key, tenant, detail | differing))
            elif not row["rows"] and row["created_at"] > now - grace:
                comparison.skip(YOUNG)
                continue
            if not row["rows"] and row["created_at"] <= now - grace:
                comparison.differences.append(Difference(Kind.SPILL_WITHOUT_ROW, _TABLE, key, tenant, detail))
            comparison.compared += 1
    return comparison
