"""Ids as people type them into the Launchpad, and the tags under which runs of a batch are found."""

from uuid import UUID

from content_orchestration.core.errors import Permanent


def identifier(field: str, value: str) -> UUID:
    """A UUID. Raises `Permanent` naming the field and the way out."""
    try:
        return UUID(value.strip())
    except ValueError:
        raise Permanent(f"{field} is {value!r}, which is no UUID: copy it from the page that names it") from None
