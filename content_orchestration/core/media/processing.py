"""One stored file: read, described, given its variants, tagged.

Order: read the file, make its variants, put them, then one transaction. Keys are content-addressed, so a run that was
killed puts the same objects again; until the commit a page has the variants that it had. Which files wait is in
`pipeline.py`, what is done to a picture in `worker.py`, the transaction in `description.py`.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.description import (
    Description,
    describe_rows_in,
    fail_rows,
    key_of,
    tags_as_json,
    write_description,
    write_failure,
)
from content_orchestration.core.media.documents import keep_in_step
from content_orchestration.core.media.limits import Refused
from content_orchestration.core.media.media_file import MediaFile, read_media_file, wait_after
from content_orchestration.core.media.model import DamagedObject, MediaStore, MediaStores, MissingObject
from content_orchestration.core.media.outcomes import Step
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.media.tags import HeuristicTagger
from content_orchestration.core.media.thumbnails import thumbnail
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import Failure, Processed
from content_orchestration.core.sql import statement

# A file whose decoder crashed or ran out of time is tried this often; then it failed for good.
MOST_ATTEMPTS = 3
# Bytes that are missing or damaged may come back by a restore: looked at again, not given up.
DAMAGED_WAIT = timedelta(hours=1)


class Worker(Protocol):
    """What makes variants and descriptions; `worker.ImageWorker` does."""

    def process(self, path: Path, out_dir: Path, settings: VariantSettings) -> Processed:
        """Describe the file and write its variants below `out_dir`. Never raises for a bad file."""
        ...


@dataclass(frozen=True)
class Processor:
    """Takes one file after another through its steps. Safe to repeat; safe to kill at any moment."""

    database: Database
    stores: MediaStores
    documents: DocumentStore
    worker: Worker
    settings: VariantSettings
    ask_model: bool = False
    """Whether a vision model is to be asked for tags, by `tagging.tag_waiting`; nothing here waits for it."""
    mark_near: bool = True
    scratch: Path | None = None
    """Folder of temporary files; the system's where it is None."""

    def process(self, tenant_id: UUID, sha256: str) -> Step:
        """Do what the file lacks. A bad file is an outcome; raises `Transient` where a server does not answer."""
        file = read_media_file(self.database, tenant_id, sha256)
        if file is None:
            return Step(sha256, "gone")
        keep_in_step(self.database, self.documents, file.assets)
        if file.given_up is not None:
            fail_rows(self.database, file, file.given_up)
            return Step(sha256, "failed", file.given_up, failed=True)
        if file.made_with == self.settings.key:
            with self.database.connection() as connection:
                describe_rows_in(connection, tenant_id, sha256, file.description)
            return Step(sha256, "already_made")
        with TemporaryDirectory(prefix="media-", dir=self.scratch) as folder:
            return self._make(file, Path(folder))

    def _make(self, file: MediaFile, folder: Path) -> Step:
        store = self.stores.for_tenant(file.tenant_id)
        try:
            with Spool(folder / "source").fetch(store, file.key, file.sha256, file.size_bytes) as source:
                reach("media_fetched")
                processed = self.worker.process(source, folder, self.settings)
            if processed.failed is not None:
                return self._failed(file, processed.failed)
            reach("media_made")
            self._put(store, file, processed)
        except (DamagedObject, MissingObject, Refused) as error:
            write_failure(self.database, file, str(error), DAMAGED_WAIT)
            return Step(file.sha256, "retry_later", str(error), failed=True)
        found = self._found(file, processed)
        if not write_description(self.database, file, found, mark_near=self.mark_near):
            return Step(file.sha256, "gone")
        reach("media_described")
        return Step(
            file.sha256,
            "made" if file.made_with is None else "remade",
            bytes_put=sum(variant.size_bytes for variant in processed.variants),
            files_put=len(processed.variants),
            thumbnail=next(
                (thumbnail(file.name, v.mime_type, v.path, v.size_bytes) for v in processed.variants[:1]), None
            ),
        )

    def _put(self, store: MediaStore, file: MediaFile, processed: Processed) -> None:
        keys = {key_of(file.sha256, variant): variant for variant in processed.variants}
        if not keys:
            return
        # Cleanup deletes under the lock of this row: afterwards the file is put anew, or was never deleted.
        with self.database.connection() as connection:
            connection.execute(statement("media/variants_reclaim"), {"tenant_id": file.tenant_id, "keys": sorted(keys)})
        for key, variant in keys.items():
            store.put_file(variant.path, key, variant.sha256, variant.mime_type)
            reach("media_variant_put")

    def _found(self, file: MediaFile, processed: Processed) -> Description:
        """What is to be written. A file that is described anew keeps its tags: asking a model twice costs twice."""
        if file.made_with is not None:
            return Description(self.settings.key, processed, json.loads(file.description).get("tags", []), "kept")
        tags = HeuristicTagger().tags(processed.described, file.name) if processed.described else ()
        wanted = self.ask_model and bool(processed.variants)
        return Description(self.settings.key, processed, tags_as_json(tags), "wanted" if wanted else "done")

    def _failed(self, file: MediaFile, failure: Failure) -> Step:
        reason = f"{failure.code}: {failure.message}"
        again = failure.again and file.attempts + 1 < MOST_ATTEMPTS
        write_failure(self.database, file, reason, wait_after(file.attempts) if again else None)
        return Step(file.sha256, "retry_later" if again else "failed", reason, failed=True)
