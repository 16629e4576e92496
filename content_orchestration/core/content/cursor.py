"""The cursor of a list: the key of a page's last item, as text that callers hand back and need not understand."""

import base64
import json
import re
from uuid import UUID

from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.database import Row

# As PostgreSQL prints a timestamptz in UTC; years have four digits or more, up to 294276.
_TIME = re.compile(r"-?infinity|\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00( BC)?")


def encode(row: Row) -> str:
    """The cursor that leads behind this row of `list.sql`. The time is PostgreSQL's text: Python cannot hold all."""
    key = json.dumps([row["created_key"], str(row["id"])])
    return base64.urlsafe_b64encode(key.encode()).decode()


def decode(cursor: str) -> tuple[str, UUID]:
    """The key in a cursor. Raises `InvalidContent` for what no list gave out."""
    try:
        created, item_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if not _TIME.fullmatch(created):
            raise ValueError(created)
        return created, UUID(item_id)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise unknown(cursor) from error


def unknown(cursor: object) -> InvalidContent:
    """The error for a cursor that no list gave out."""
    return InvalidContent(
        "cursor", f"is {str(cursor)[:60]!r}, which no list gave out", "Begin without one, then pass what came back."
    )
