"""The look at a file before anything opens it: format by its bytes, claims against the limits, nothing decoded.

Safe in any process: reads are bounded, and only our own code reads. Decoding is the child's (`worker.py`).
"""

from dataclasses import dataclass
from pathlib import Path

from content_orchestration.core.media.duration import duration
from content_orchestration.core.media.headers.avif import read_avif
from content_orchestration.core.media.headers.gif import read_gif
from content_orchestration.core.media.headers.jpeg import read_jpeg
from content_orchestration.core.media.headers.png import read_png
from content_orchestration.core.media.headers.webp import read_webp
from content_orchestration.core.media.limits import Limits
from content_orchestration.core.media.polyglot import check_archive, check_extras
from content_orchestration.core.media.sniff import Kind, sniff
from content_orchestration.core.media.window import Window

_READERS = {"jpeg": read_jpeg, "png": read_png, "webp": read_webp, "gif": read_gif, "avif": read_avif}
_DEFAULT = Limits()


@dataclass(frozen=True)
class Inspection:
    """What a file is. `width` and `height` are those seen after `orientation` (1 to 8) is applied; None for no picture.

    `duration_s` is in seconds, of animations, films and sound; `captured_at` is ISO 8601, local
    time where it has no zone.
    """

    kind: Kind
    format: str
    mime_type: str
    extension: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    orientation: int = 1
    frames: int = 1
    duration_s: float | None = None
    captured_at: str | None = None


def inspect(path: Path, limits: Limits = _DEFAULT) -> Inspection:
    """What the file is. Raises `Refused` with a code and a way out; OSError where it cannot be read."""
    with Window(path) as window:
        found = sniff(window)
        read = _READERS.get(found.name)
        known = (found.kind, found.name, found.mime_type, found.extension, window.size)
        if read is None:
            return Inspection(*known, duration_s=duration(window, found.name))
        check_archive(window)
        header = read(window, limits)
        check_extras(window, header, found.name)
    # AVIF turns by properties that its decoder applies; its EXIF is not to be heeded (MIAF 7.3.6.7).
    turned = header.exif.orientation >= 5
    return Inspection(
        *known,
        width=header.height if turned else header.width,
        height=header.width if turned else header.height,
        orientation=header.exif.orientation,
        frames=header.frames,
        duration_s=header.duration_s,
        captured_at=header.exif.captured_at,
    )
