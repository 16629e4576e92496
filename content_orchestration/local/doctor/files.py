"""Folders, the object store, and the programs that make dumps."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.operations.doctor import Finding, ok, problem, unknown, warning
from content_orchestration.core.operations.doctor_measures import Space, folder
from content_orchestration.settings import Settings

_PROBE = b"content_orchestration doctor\n"


def folders(settings: Settings, statvfs: Callable[[Path], Space] = os.statvfs) -> Iterator[Finding]:
    """Every folder that is written on this machine: writable, and on a disk with room."""
    state = settings.local_state_dir
    wanted = {
        "LOCAL_STATE_DIR": state,
        "REPORT_DIR": settings.reports,
        "compute logs": Path(os.environ.get("DAGSTER_COMPUTE_LOG_DIR") or state / "dagster" / "compute_logs"),
        "spool": state / "spool",
        "temporary files": Path(tempfile.gettempdir()),
    }
    for name, url in {"STORAGE_URL": settings.storage_url, "BACKUP_URL": settings.backup_url}.items():
        if urlsplit(url).scheme == "file":
            wanted[name] = Path(unquote(urlsplit(url).path))
    for name, path in wanted.items():
        yield from folder(f"folder {name}", path, statvfs)


def object_store(settings: Settings, seconds: float, tenant: Callable[[], UUID | None]) -> Iterator[Finding]:
    """Put, read and delete one small object beside the tenants' files, where no job looks; each within `seconds`.

    `tenant` is asked for one only where each has a bucket of its own.
    """
    from content_orchestration.resources.object_store import stores_of

    about = "object store"
    owner = tenant() if _bucket_each(settings) else UUID(int=0)
    if owner is None:
        yield unknown(
            about,
            "not looked at: each tenant has a bucket of its own, and no tenant is known",
            "see what is said of postgresql; a platform without tenants needs no bucket yet",
        )
        return
    try:
        store = stores_of(settings, retry_seconds=seconds).doctor(owner)
        key = f"probe-{uuid4().hex}"
        with tempfile.NamedTemporaryFile(suffix=".probe") as file:
            file.write(_PROBE)
            file.flush()
            store.put_file(Path(file.name), key, sha256_hex(_PROBE.decode()), "text/plain")
        try:
            if b"".join(store.read(key)) != _PROBE:
                yield problem(about, f"{store.location} gives back other bytes than were put", "use another store")
                return
        finally:
            store.delete(key)
        if store.exists(key):
            yield problem(about, f"{store.location} does not delete", "allow s3:DeleteObject or its like")
            return
    except (Permanent, Transient) as error:
        yield problem(about, str(error), "see STORAGE_URL, STORAGE_ENDPOINT, STORAGE_REGION and STORAGE_ACCESS_KEY_ID")
        return
    yield ok(about, f"{store.location} takes, gives back and deletes an object")


def dump_programs(settings: Settings, seconds: float, server: Callable[[], int | None]) -> Iterator[Finding]:
    """pg_dump against the server: one that is older refuses. A program may take `seconds` to say its version."""
    found = {path: major for path in _candidates(settings) if (major := _major(path, seconds)) is not None}
    about, way_out = "pg_dump", "install the server's version, and name its folder in POSTGRES_PROGRAMS"
    if not found:
        yield warning(about, "is not installed: no backup can be made", way_out)
        return
    path, major = max(found.items(), key=lambda item: item[1])
    wanted = server()
    if wanted is None:
        yield unknown(about, f"{major} is there; the server's version is not known")
    elif major < wanted:
        yield problem(about, f"{path} is of version {major}, the server of {wanted}: it refuses", way_out)
    else:
        yield ok(about, f"{major} for a server of {wanted}")


def _bucket_each(settings: Settings) -> bool:
    parts = urlsplit(settings.storage_url)
    return parts.scheme in ("s3", "gs", "az") and not parts.netloc


def _candidates(settings: Settings) -> Iterator[Path]:
    if settings.postgres_programs is not None:
        yield settings.postgres_programs / "pg_dump"
        return
    on_path = shutil.which("pg_dump")
    if on_path:
        yield Path(on_path)
    from content_orchestration.local.errors import LocalStackError

    try:
        from content_orchestration.local.postgres import binaries

        yield binaries() / "pg_dump"
    except (ImportError, LocalStackError):
        return


def _major(path: Path, seconds: float) -> int | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=seconds, check=True)
        return int(said.stdout.split()[2].partition(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
