"""Is what rows say of files true? Bytes and hashes, sources of variants, files without a row, files that failed.

Report only: nothing is repaired or removed here. A check that could not look is unknown.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.media.findings import FileReport
from content_orchestration.core.media.listing import list_files
from content_orchestration.core.media.truth import scrub_files
from content_orchestration.core.media.waiting import failed_files
from content_orchestration.defs.media.assets import media_files, media_variants
from content_orchestration.failures import unknown
from content_orchestration.presentation import values
from content_orchestration.resources.media import MediaResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_SOURCES = "every_variant_has_its_source"
_STRAYS = "no_file_is_without_a_row"


@dg.asset_check(asset=media_files, name="every_file_has_its_bytes_and_hash")
def every_file_has_its_bytes_and_hash(postgres: PostgresResource, media: MediaResource) -> dg.AssetCheckResult:
    """A share of all files and variants, read and hashed: each within SCRUB_DAYS. What was wrong is looked at again."""
    try:
        report = scrub_files(
            postgres.client(),
            media.stores(),
            share_of=timedelta(days=get_settings().scrub_days),
            now=datetime.now(UTC),
        )
    except AlreadyRunning as error:
        return unknown(Transient(str(error)))
    except (Transient, Permanent) as error:
        return unknown(error)
    return _result(report, f"{report.compared} files read, {report.findings} are not what their rows say")


@dg.asset_check(asset=media_files, name="no_file_failed")
def no_file_failed(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No row's file was refused, could not be fetched, or cannot be shown. A warning: the others are done."""
    try:
        found, samples = failed_files(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found} files failed; each names its reason" if found else "no file failed",
        metadata={"failed": found, "samples": dg.MetadataValue.json(samples)},
    )


@dg.multi_asset_check(
    name="media_listing_checks",
    specs=[
        dg.AssetCheckSpec(
            _SOURCES, asset=media_variants, description="Every variant's original is known and in the store."
        ),
        dg.AssetCheckSpec(
            _STRAYS,
            asset=media_variants,
            description="Every file in the tenants' stores is named by a row; younger than an hour it may be ahead of "
            "it. Report only: cleanup removes.",
        ),
    ],
)
def media_listing_checks(postgres: PostgresResource, media: MediaResource) -> Iterator[dg.AssetCheckResult]:
    """One listing of every tenant's files answers both."""
    try:
        listed = list_files(postgres.client(), media.stores(), now=datetime.now(UTC))
    except (Transient, Permanent) as error:
        lost = unknown(error)
        for name in (_SOURCES, _STRAYS):
            yield dg.AssetCheckResult(
                check_name=name,
                passed=lost.passed,
                severity=lost.severity,
                description=lost.description,
                metadata=lost.metadata,
            )
        return
    sources, strays = listed.sources, listed.strays
    yield _result(
        sources, f"{sources.compared} sources, {sources.findings} of them are gone though variants name them", _SOURCES
    )
    yield _result(strays, f"{strays.attempted} files listed, {strays.findings} of them are in no row", _STRAYS)


def _result(report: FileReport, description: str, name: str | None = None) -> dg.AssetCheckResult:
    told: dict[str, Any] = values(report.as_metadata())
    return dg.AssetCheckResult(
        check_name=name,
        passed=not report.findings,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata={"outcome": "different" if report.findings else "agree"} | told,
    )
