"""Whether every file's document says what its row says. The files themselves are not read here."""

import time
from contextlib import closing
from functools import partial

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.integrity.fields import judge_fields, one_row_each
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.looking import Clock, looking, stream, tenant_uuid
from content_orchestration.core.integrity.pairs import Pairing, Pairs

COLLECTION = "content_media_files"
MEDIA = Pairing(COLLECTION, "integrity/media_of_ids", one_row_each, partial(judge_fields, COLLECTION))


def compare_media(
    database: Database, store: DocumentStore, *, tenant_id: str | None = None, clock: Clock = time.monotonic
) -> Comparison:
    """Compare the documents of files with their rows, of a tenant or all. Counted are rows.

    Raises `Permanent` for a malformed tenant id; a tier that cannot be read makes the comparison unknown.
    """
    values = {"tenant": tenant_uuid(tenant_id)}
    with looking("media", clock) as comparison:
        pairs = Pairs(database, store, MEDIA, comparison)
        with closing(stream(database, "integrity/media_rows", values)) as rows:
            pairs.compare(one_row_each(rows))
        pairs.settle()
    return comparison
