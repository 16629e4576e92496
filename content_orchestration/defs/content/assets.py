"""Bodies that waited while ZeroDB was down: moved there once it answers, and a check that none waits for long."""

from datetime import timedelta

import dagster as dg

from content_orchestration.core.content.spill import drain, spill_state
from content_orchestration.core.errors import Transient
from content_orchestration.defs.schema.assets import postgres_schema, zerodb_collections
from content_orchestration.failures import explained, unknown
from content_orchestration.policies import KIND_POSTGRES, KIND_ZERODB, OWNERS, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource

# Longer than any hiccup and most outages: by then somebody should know.
LONGEST_WAIT = timedelta(hours=1)
_TABLE = "content_body_spill"
_COLUMNS = [("zerodb_row_id", "text"), ("tenant_id", "uuid"), ("body_sha256", "text"), ("size_bytes", "bigint")]


@dg.asset(
    group_name="content",
    deps=[postgres_schema, zerodb_collections],
    kinds={KIND_POSTGRES, KIND_ZERODB},
    owners=OWNERS,
    retry_policy=RETRY,
)
def content_body_spill(postgres: PostgresResource, zerodb: ZeroDBResource) -> dg.MaterializeResult[None]:
    """Bodies that ZeroDB would not take; materializing moves them there, each proven by its hash."""
    database = postgres.client()
    with explained():
        report = drain(database, zerodb.client())
        left = spill_state(database)
    return dg.MaterializeResult(
        metadata=table_metadata(_TABLE, _COLUMNS, left.bodies)
        | values(report.as_metadata() | {"bodies_waiting": left.bodies, "bytes_waiting": left.bytes})
    )


@dg.asset_check(asset=content_body_spill, name="no_body_waits_longer_than_an_hour")
def no_body_waits_longer_than_an_hour(postgres: PostgresResource) -> dg.AssetCheckResult:
    """The oldest body in the spill is younger than an hour."""
    try:
        state = spill_state(postgres.client())
    except Transient as error:
        return unknown(error)
    passed = state.oldest_seconds < LONGEST_WAIT.total_seconds()
    return dg.AssetCheckResult(
        passed=passed,
        description=f"{state.bodies} bodies wait, the oldest for {state.oldest_seconds:.0f} s"
        + ("" if passed else ": see that ZeroDB answers, then materialize content_body_spill"),
        metadata={
            "bodies_waiting": state.bodies,
            "bytes_waiting": state.bytes,
            "oldest_seconds": state.oldest_seconds,
        },
    )
