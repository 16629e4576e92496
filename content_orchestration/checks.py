"""Several asset checks as one step: they ask side by side, and a step costs a run 0.1 s and five rows of the log."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import dagster as dg

Look = Callable[[], dg.AssetCheckResult]
"""Answers one check. What a tier may raise it answers as unknown."""


def side_by_side(
    context: dg.AssetCheckExecutionContext, looks: Mapping[dg.AssetCheckKey, Look]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks that the run selects, in their order.

    What a look raises against its word is raised at the end, behind the results of the others.
    """
    wanted = [key for key in looks if key in context.selected_asset_check_keys]
    raised: BaseException | None = None
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        futures = [(key, pool.submit(looks[key])) for key in wanted]
        for key, future in futures:
            error = future.exception()
            raised = raised or error
            if error is None:
                yield _named(key, future.result())
    if raised is not None:
        raise raised


def _named(key: dg.AssetCheckKey, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )
