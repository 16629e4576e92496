"""JPEG (ITU T.81): every marker is walked from SOI to EOI, the coded data by searching for the next marker."""

import re

from content_orchestration.core.media.exif import NO_EXIF, Exif, read_exif
from content_orchestration.core.media.header import METADATA_BYTES, Header
from content_orchestration.core.media.limits import Limits, Refused, malformed, truncated
from content_orchestration.core.media.window import Window

_BLOCK = 256 * 1024
_MOST_SEGMENTS = 2_000
# A scan of a few bytes costs a pass over all pixels; encoders write 1 to 15 of them.
_MOST_SCANS = 64
# Coded data cannot be smaller: one bit a block of 64 grey pixels, 512 pixels a byte.
_MOST_PIXELS_A_BYTE = 1_024
_SOF = {0xC0, 0xC1, 0xC2}
_OTHER_SOF = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_SOS, _EOI, _SOI, _DNL = 0xDA, 0xD9, 0xD8, 0xDC
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def read_jpeg(window: Window, limits: Limits) -> Header:
    """What the markers claim. Raises `Refused`."""
    offset, scans = 2, 0
    size: tuple[int, int] | None = None
    exif = NO_EXIF
    metadata: list[bytes] = []
    room = METADATA_BYTES
    for _ in range(_MOST_SEGMENTS):
        head = window.at(offset, 4)
        if len(head) < 2:
            raise truncated("its headers")
        if head[0] != 0xFF:
            raise malformed(f"byte {offset} should begin a JPEG marker")
        marker = head[1]
        if marker == 0xFF:
            offset += 1
            continue
        if marker == _EOI:
            return _ended(size, scans, offset + 2, exif, metadata)
        if marker in (_SOI, _DNL) or marker in _OTHER_SOF or marker < 0xC0:
            raise _unusual(marker)
        length = int.from_bytes(head[2:4], "big")
        if len(head) < 4 or offset + 2 + length > window.size:
            raise truncated("its headers")
        if length < 2:
            raise malformed("a JPEG segment claims less than its own length")
        if marker in _SOF:
            if size is not None:
                raise malformed("two JPEG frame headers claim two sizes")
            size = _size(window.at(offset + 4, 6), limits, window.size)
        elif marker >= 0xE0 and room > 0:
            body = window.at(offset + 4, length - 2)
            if marker == 0xE1 and body.startswith(b"Exif\0\0") and exif == NO_EXIF:
                exif = read_exif(body)
            # A colour profile is binary and large, and is checked by whoever applies it.
            if not body.startswith(b"ICC_PROFILE\0"):
                metadata.append(body[:room])
                room -= len(body)
        offset += 2 + length
        if marker == _SOS:
            if size is None:
                raise malformed("JPEG data comes before its frame header")
            scans += 1
            if scans > _MOST_SCANS:
                raise Refused("bomb_scans", f"the JPEG has more than {_MOST_SCANS} scans: export it again")
            offset = _after_coded_data(window, offset)
    raise Refused("bomb_segments", f"the JPEG has more than {_MOST_SEGMENTS} segments: export it again")


def _size(body: bytes, limits: Limits, file_bytes: int) -> tuple[int, int]:
    if len(body) < 6:
        raise malformed("a JPEG frame header is too short")
    depth, height, width, components = body[0], *_two(body[1:5]), body[5]
    limits.check_size(width, height)
    if depth != 8 or components not in (1, 3, 4):
        raise Refused(
            "unsupported_encoding",
            f"the JPEG has {depth} bits and {components} components; 8 bits and 1, 3 or 4 are decoded: export it again",
        )
    if width * height > _MOST_PIXELS_A_BYTE * file_bytes:
        raise Refused(
            "bomb_ratio",
            f"{file_bytes} bytes of JPEG cannot hold the {width} x {height} pixels that they claim: export it again",
        )
    return width, height


def _two(pair: bytes) -> tuple[int, int]:
    return int.from_bytes(pair[:2], "big"), int.from_bytes(pair[2:], "big")


def _after_coded_data(window: Window, offset: int) -> int:
    while block := window.at(offset, _BLOCK):
        found = _NEXT_MARKER.search(block)
        if found:
            return offset + found.start()
        # The last byte may be the first half of a marker.
        step = len(block) - 1 if len(block) == _BLOCK else len(block)
        offset += step
    raise truncated("its pixels")


def _ended(size: tuple[int, int] | None, scans: int, end: int, exif: Exif, metadata: list[bytes]) -> Header:
    if size is None or not scans:
        raise malformed("the JPEG ends without a picture")
    return Header(*size, end=end, exif=exif, metadata=b"\n".join(metadata))


def _unusual(marker: int) -> Refused:
    if marker in _OTHER_SOF:
        return Refused(
            "unsupported_encoding", "the JPEG is lossless, hierarchical or arithmetic-coded: export it as a usual one"
        )
    return malformed(f"JPEG marker FF{marker:02X} has no place there")
