"""What the content store refuses, and why. Each error names its field or item and leaves every tier as it was."""

from uuid import UUID

from content_orchestration.core.errors import Permanent


class InvalidContent(Permanent):
    """An argument breaks a rule. Nothing was written in any tier."""

    def __init__(self, field: str, rule: str, way_out: str) -> None:
        self.field = field
        self.rule = rule
        super().__init__(f"{field} {rule}: nothing was written. {way_out}")


class ContentNotFound(Permanent):
    """The tenant has no such item, or it was deleted. An item of another tenant is not found either."""

    def __init__(self, content_id: UUID, what: str = "has no such item, or it is deleted") -> None:
        self.content_id = content_id
        super().__init__(f"content {content_id}: this tenant {what}. List the tenant's items to see what there is")


class VersionConflict(Permanent):
    """Somebody else changed the item first. Read it again, and decide anew."""

    def __init__(self, content_id: UUID, expected: int, found: int) -> None:
        self.content_id = content_id
        self.expected = expected
        self.found = found
        super().__init__(
            f"content {content_id} is at version {found}, not at {expected}: somebody else changed it and nothing was "
            "written. Read it again, then update with the version that you read"
        )


class PermissionRefused(Permanent):
    """The caller may not do this, or did not confirm it."""


class BodyUnavailable(Permanent):
    """No tier can give the body now; the item itself is as it was."""
