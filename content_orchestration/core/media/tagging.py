"""Asks a vision model for the tags of files that are described already. How tags are made is in `tags.py`.

Tags never hold a file up: it has those of the local tagger meanwhile, and keeps them after ten attempts. A model that
fails three times on end is left alone until the next run: a time-out takes a minute, and a thousand of them a day.
"""

import json
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.describe import Described
from content_orchestration.core.media.description import describe_rows_in, tags_as_json
from content_orchestration.core.media.media_file import file_name, wait_after
from content_orchestration.core.media.model import MediaStores, MissingObject
from content_orchestration.core.media.outcomes import RunReport, Step
from content_orchestration.core.media.tags import Tagger, tag
from content_orchestration.core.sql import statement

MOST_ATTEMPTS = 10
# A vision model is shown the variant that comes nearest to this width.
_PICTURE_WIDTH = 800
_MOST_FAILURES = 3


def tag_waiting(
    database: Database,
    stores: MediaStores,
    vision: Tagger | None,
    tenant_id: UUID,
    *,
    most: int,
    scratch: Path | None = None,
) -> RunReport:
    """Ask for the tags of a tenant's files that are due, at most `most`. Without a model nothing is done.

    Raises `Transient` where the store or PostgreSQL does not answer; a tagger that does not is an outcome.
    """
    report = RunReport(str(tenant_id))
    if vision is None:
        return report
    with database.connection() as connection:
        rows = connection.execute(statement("media/tags_due"), {"tenant_id": tenant_id, "most": most}).fetchall()
    in_a_row = 0
    for row in rows:
        with TemporaryDirectory(prefix="media-", dir=scratch) as folder:
            step = _tag(database, stores, vision, tenant_id, row, Path(folder))
        report.add(step)
        in_a_row = in_a_row + 1 if step.failed else 0
        if in_a_row == _MOST_FAILURES:
            break
    report.left = max(0, rows[0]["waiting"] - report.attempted) if rows else 0
    return report


def _tag(database: Database, stores: MediaStores, vision: Tagger, tenant_id: UUID, row: Row, folder: Path) -> Step:
    described = json.loads(row["description"])
    try:
        picture = _picture(stores, tenant_id, described.get("variants", []), folder)
    except MissingObject:
        # The truth check reports the file; its tags come from what is known without it.
        picture = None
    tagging = tag(Described.from_metadata(described.get("file", {})), file_name(row["name"]), picture, vision)
    again = tagging.retry and row["tags_attempts"] + 1 < MOST_ATTEMPTS
    reach("media_tagged")
    values = {
        "tenant_id": tenant_id, "sha256": row["sha256"], "tags": json.dumps(tags_as_json(tagging.tags)),
        "tags_state": "wanted" if again else "done", "tags_error": tagging.reason,
        "tags_wait": wait_after(row["tags_attempts"] + 1) if again else None,
    }  # fmt: skip
    with database.connection() as connection:
        written = connection.execute(statement("media/tags_write"), values).fetchone()
        if written is None:
            return Step(row["sha256"], "gone")
        if not tagging.retry:
            describe_rows_in(connection, tenant_id, row["sha256"], written["description"])
    if tagging.reason is None:
        return Step(row["sha256"], "tagged")
    return Step(row["sha256"], "retry_later" if again else "kept_local_tags", tagging.reason, failed=True)


def _picture(stores: MediaStores, tenant_id: UUID, variants: list[dict[str, Any]], folder: Path) -> Path | None:
    shown = min(variants, key=lambda each: abs(int(each["width"]) - _PICTURE_WIDTH), default=None)
    if shown is None:
        return None
    # By its name a tagger knows what it is.
    path = (folder / "picture").with_suffix(PurePosixPath(shown["key"]).suffix)
    with path.open("wb") as target:
        for chunk in stores.for_tenant(tenant_id).read(shown["key"]):
            target.write(chunk)
    return path
