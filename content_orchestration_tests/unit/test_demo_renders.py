"""The files behind the demo's renders: one each, where cleanup looks for it, and none in a store that is somebody's."""

from pathlib import Path

from content_orchestration.core.cleanup.addresses import RenderPlaces
from content_orchestration.local.demo_data import generate
from content_orchestration.local.demo_renders import write_demo_renders
from content_orchestration.resources.render_store import render_buckets_of, render_places_of
from content_orchestration_tests.conftest import scratch_settings


def test_each_completed_render_has_its_file_saved_or_not(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path)
    tables = generate().tables
    jobs = [job for job in tables["render_jobs"] if job["output_url"] is not None]
    assert write_demo_renders(settings) == len(jobs) == len(list(tmp_path.rglob("*.mp4")))
    places: RenderPlaces = render_places_of(settings)
    stores = render_buckets_of(settings)
    for job in jobs:
        location = places.locate(job["output_url"], None, None)
        found = stores.bucket(location.bucket).head(location.path)
        assert found is not None
        assert found.size_bytes == 65_536
    saved = {each["metadata"].get("render_job_id") for each in tables["user_assets"]} - {None}
    assert 0 < len(saved) < len(jobs), "some are orphans"


def test_a_configured_store_gets_none(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path, STORAGE_URL="s3://company-files")
    assert write_demo_renders(settings) == 0
    assert list(tmp_path.rglob("*.mp4")) == []
