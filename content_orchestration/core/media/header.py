"""The value that each format's reader returns. How a format is read is in `headers/`."""

from dataclasses import dataclass

from content_orchestration.core.media.exif import NO_EXIF, Exif

METADATA_BYTES = 256 * 1024


@dataclass(frozen=True)
class Header:
    """What a picture's header claims. Pixels before orientation; `duration_s` of all frames, seconds.

    `end` is the offset after the picture's last byte; `metadata` up to 256 KiB of what it carries beside pixels.
    """

    width: int
    height: int
    end: int
    frames: int = 1
    duration_s: float | None = None
    exif: Exif = NO_EXIF
    metadata: bytes = b""
