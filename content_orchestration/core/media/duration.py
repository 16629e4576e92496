"""How long films and sound last, where a header says so. Nothing is decoded; what is not cheap is left unknown."""

from content_orchestration.core.media.boxes import boxes, movie_seconds
from content_orchestration.core.media.limits import Refused
from content_orchestration.core.media.window import Window

_MOST_CHUNKS = 64


def duration(window: Window, format_name: str) -> float | None:
    """Seconds, or None where the format does not say it cheaply or says it wrongly."""
    try:
        if format_name in ("mp4", "mov", "m4a"):
            return next(
                (movie_seconds(window, box) for box in boxes(window, 0, window.size) if box.kind == b"moov"), None
            )
        if format_name == "wav":
            return _wav(window)
        if format_name == "flac":
            return _flac(window)
        if format_name == "avi":
            return _avi(window)
    except Refused:
        # A film is stored as it is; only its duration is unknown.
        return None
    return None


def _wav(window: Window) -> float | None:
    offset, rate = 12, 0
    for _ in range(_MOST_CHUNKS):
        head = window.at(offset, 8)
        if len(head) < 8:
            return None
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == b"fmt ":
            rate = int.from_bytes(window.at(offset + 16, 4), "little")
        elif head[:4] == b"data":
            return round(min(length, window.size - offset - 8) / rate, 3) if rate else None
        offset += 8 + length + length % 2
    return None


def _flac(window: Window) -> float | None:
    packed = int.from_bytes(window.at(18, 8).ljust(8, b"\0"), "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return round(samples / rate, 3) if rate and samples else None


def _avi(window: Window) -> float | None:
    head = window.at(0, 56)
    if head[24:28] != b"avih":
        return None
    microseconds, frames = int.from_bytes(head[32:36], "little"), int.from_bytes(head[48:52], "little")
    return round(microseconds * frames / 1_000_000, 3) if microseconds and frames else None
