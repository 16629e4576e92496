"""Did somebody just destroy something? The change log tells it, and with it the moment to restore to."""

import dagster as dg

from content_orchestration.core.database import Database
from content_orchestration.core.drill.detection import large_transactions, large_transactions_text
from content_orchestration.core.errors import Transient
from content_orchestration.failures import unknown

NAME = "no_transaction_touched_most_rows"
DESCRIPTION = (
    "No transaction of the last day changed or deleted a tenth of a table (and at least 20 rows) at once. A warning: "
    "it may have been meant. If it was not, its moment is what restore_from_bigquery is given as as_of."
)


def no_transaction_touched_most_rows(database: Database) -> dg.AssetCheckResult:
    """Passed where nothing that large was done; else a warning with the transactions."""
    try:
        found = large_transactions(database)
    except Transient as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{large_transactions_text(found)}. If nobody meant it: docs/RUNBOOK.md, 'A bad UPDATE or DELETE'"
        if found
        else "no transaction of the last day changed or deleted a tenth of a table",
        metadata={
            "transactions": dg.MetadataValue.json(
                [row | {"began": row["began"].isoformat(), "ended": row["ended"].isoformat()} for row in found[:20]]
            )
        },
    )
