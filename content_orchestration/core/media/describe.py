"""What is kept about a file, and nothing else: no place, no serial number, no name of a person or device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from content_orchestration.core.media.colours import Colour
from content_orchestration.core.media.inspection import Inspection
from content_orchestration.core.media.sniff import Kind


@dataclass(frozen=True)
class Described:
    """Pixels as shown; `duration_s` in seconds; `captured_at` ISO 8601, local time where it has no zone."""

    kind: Kind
    format: str
    mime_type: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    frames: int = 1
    duration_s: float | None = None
    captured_at: str | None = None
    colours: tuple[Colour, ...] = ()
    has_alpha: bool = False

    @property
    def shape(self) -> str | None:
        """`square` within 5 %, `panorama` from 2:1 on, `tall` from 1:2 on, else `landscape` or `portrait`."""
        if not self.width or not self.height:
            return None
        ratio = self.width / self.height
        if ratio >= 2:
            return "panorama"
        if ratio <= 0.5:
            return "tall"
        if 1 / 1.05 <= ratio <= 1.05:
            return "square"
        return "landscape" if ratio > 1 else "portrait"

    def as_metadata(self) -> dict[str, Any]:
        """What is known, ready for JSON; what is unknown is left out."""
        known: dict[str, Any] = {
            "kind": self.kind,
            "format": self.format,
            "mime_type": self.mime_type,
            "size_bytes": self.size_bytes,
            "width": self.width,
            "height": self.height,
            "shape": self.shape,
            "frames": self.frames if self.frames > 1 else None,
            "duration_s": self.duration_s,
            "captured_at": self.captured_at,
            "colours": [{"hex": one.hex, "share": one.share} for one in self.colours] or None,
            "has_alpha": self.has_alpha or None,
        }
        return {name: value for name, value in known.items() if value is not None}

    @classmethod
    def from_metadata(cls, known: Mapping[str, Any]) -> Self:
        """The description that `as_metadata` wrote down; what is missing is unknown."""
        return cls(
            kind=known.get("kind", "document"),
            format=known.get("format", ""),
            mime_type=known.get("mime_type", ""),
            size_bytes=known.get("size_bytes", 0),
            width=known.get("width"),
            height=known.get("height"),
            frames=known.get("frames", 1),
            duration_s=known.get("duration_s"),
            captured_at=known.get("captured_at"),
            colours=tuple(Colour(one["hex"], one["share"]) for one in known.get("colours", ())),
            has_alpha=known.get("has_alpha", False),
        )


def describe(
    inspection: Inspection, *, extract: bool, colours: tuple[Colour, ...] = (), has_alpha: bool = False
) -> Described:
    """The description of a file. Without `extract` only size, format and dimensions (`ENABLE_METADATA_EXTRACTION`)."""
    return Described(
        inspection.kind,
        inspection.format,
        inspection.mime_type,
        inspection.size_bytes,
        inspection.width,
        inspection.height,
        inspection.frames,
        inspection.duration_s if extract else None,
        inspection.captured_at if extract else None,
        colours if extract else (),
        has_alpha,
    )
