"""What runs by sensor, schedule or hand: taking files in, making variants again, looking whether files are true."""

import dagster as dg

from content_orchestration.defs.media.assets import media_files, media_variants
from content_orchestration.defs.media.checks import (
    every_file_has_its_bytes_and_hash,
    media_listing_checks,
    no_file_failed,
)
from content_orchestration.defs.media.usage import media_usage
from content_orchestration.failures import stop_run_retries

take_files_in = dg.define_asset_job(
    "take_files_in",
    selection=dg.AssetSelection.assets(media_files, media_variants, media_usage).without_checks(),
    hooks={stop_run_retries},
    description="The chosen tenants' waiting files: stored, described, given their variants, counted.",
)
make_variants = dg.define_asset_job(
    "make_variants",
    selection=dg.AssetSelection.assets(media_variants).without_checks(),
    hooks={stop_run_retries},
    description="Variants of the chosen tenants' files. With remake true in the config: again, with other sizes.",
)
check_files = dg.define_asset_job(
    "check_files",
    selection=dg.AssetSelection.checks(every_file_has_its_bytes_and_hash, no_file_failed, media_listing_checks),
    hooks={stop_run_retries},
    description="Whether stored files have their bytes and hashes, variants their sources, and every file a row.",
)


@dg.schedule(job=check_files, cron_schedule="22 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def check_files_hourly() -> dg.RunRequest:
    """Each hour: a share of all bytes, and one listing of every tenant's files."""
    return dg.RunRequest()
