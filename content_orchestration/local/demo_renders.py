"""Files behind the demo's completed renders, saved and unsaved, where the local stack keeps renders in folders."""

from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from content_orchestration.local.demo_data import DemoData, generate
from content_orchestration.settings import Settings

_BYTES = 64 * 1024


def write_demo_renders(settings: Settings, data: DemoData | None = None) -> int:
    """Write a small file for each completed render; returns how many. A configured store is never touched."""
    from content_orchestration.resources.render_store import render_places_of

    if urlsplit(settings.storage_url).scheme not in ("", "file"):
        return 0
    tables = (data or generate()).tables
    places = render_places_of(settings)
    tenants = {user["id"]: user["tenant_id"] for user in tables["users"]}
    written = 0
    for job in tables["render_jobs"]:
        if job["output_url"] is None:
            continue
        location = places.locate(job["output_url"], UUID(str(tenants[job["user_id"]])), UUID(str(job["user_id"])))
        path: Path = settings.local_state_dir / "renders" / location.bucket / location.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(job["id"]).encode().ljust(_BYTES, b"\0"))
        written += 1
    return written
