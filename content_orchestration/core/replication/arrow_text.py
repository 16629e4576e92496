"""Arrow columns as the text that PostgreSQL's JSON has for them, and digests of text. Which column is which type, and
what a row looks like, is `assemble.py`'s.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Timestamps that BigQuery and this module print: the years 1 to 9999, in microseconds since 1970 (UTC).
FIRST_MICROSECOND = -62_135_596_800_000_000
LAST_MICROSECOND = 253_402_300_799_999_999

_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_TEXT = 36
# 8-4-4-4-12: where the digits of each two bytes stand.
_UUID_PAIRS = (0, 4, 9, 14, 19, 24, 28, 32)
_ESCAPES = {0x5C: "\\\\", 0x22: '\\"', 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def _hexadecimal_pairs() -> npt.NDArray[np.uint32]:
    """The four digits of every pair of bytes, as they lie in memory."""
    pairs = np.arange(65_536, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    digits = np.empty((65_536, 4), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _HEX_DIGITS[pairs >> 4], _HEX_DIGITS[pairs & 15]
    return digits.view(np.uint32).reshape(-1)


_PAIRS = _hexadecimal_pairs()


def uuid_texts(column: pa.Array) -> pa.Array:
    """UUIDs of 16 bytes as PostgreSQL prints them; NULL stays NULL."""
    present = column.drop_null() if column.null_count else column
    count = len(present)
    text = np.full((count, _UUID_TEXT), ord("-"), np.uint8)
    _put_uuids(text, 0, present)
    if not column.null_count:
        return _fixed_width(text, _UUID_TEXT, count)
    ends = np.cumsum(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.int32) * _UUID_TEXT
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    validity = column.is_valid().buffers()[1]
    return pa.StringArray.from_buffers(len(column), pa.py_buffer(offsets), pa.py_buffer(text), validity)


def uuid_lines(parts: Sequence[tuple[str, pa.Array]]) -> pa.Array:
    """Lines of one text and one UUID after the other. No NULLs."""
    count = len(parts[0][1])
    blank = np.frombuffer("".join(text + "-" * _UUID_TEXT for text, _ in parts).encode(), np.uint8)
    lines = np.empty((count, len(blank)), np.uint8)
    lines[:] = blank
    offset = 0
    for text, column in parts:
        offset += len(text.encode())
        _put_uuids(lines, offset, column)
        offset += _UUID_TEXT
    return _fixed_width(lines, len(blank), count)


def _put_uuids(lines: npt.NDArray[np.uint8], offset: int, column: pa.Array) -> None:
    """Print the digits of the UUIDs into the rows of a matrix of characters, from a column of it on."""
    count, width = lines.shape
    if not count:
        return
    raw = np.frombuffer(column.buffers()[1], np.uint16, count * 8, column.offset * 16).reshape(count, 8)
    for number, place in enumerate(_UUID_PAIRS):
        digits = np.ndarray((count,), np.uint32, lines, offset + place, (width,))
        digits[:] = _PAIRS[raw[:, number]]


def timestamp_texts(column: pa.Array) -> pa.Array:
    """`2025-01-02T03:04:05.6` without the zone, the fraction as short as it goes. Only for the years 1 to 9999."""
    # Always six digits from Arrow; PostgreSQL ends with the last that counts, and leaves a fraction of zero out.
    digits = pc.cast(column.cast(pa.int64()).cast(pa.timestamp("us")), pa.string())
    short = pc.ascii_rtrim(pc.ascii_rtrim(digits, "0"), ".")
    return pc.binary_replace_slice(short.cast(pa.binary()), 10, 11, b"T").cast(pa.string())


def within_years(column: pa.Array) -> pa.Array:
    """The timestamps as they are where the year is 1 to 9999, else NULL: BigQuery has no others."""
    if column.null_count == len(column):
        return column
    values = column.cast(pa.int64())
    bounds = pc.min_max(values)
    if bounds["min"].as_py() >= FIRST_MICROSECOND and bounds["max"].as_py() <= LAST_MICROSECOND:
        return column
    inside = pc.and_(pc.greater_equal(values, FIRST_MICROSECOND), pc.less_equal(values, LAST_MICROSECOND))
    return pc.if_else(inside, column, pa.scalar(None, column.type))


def json_escaped(column: pa.Array) -> pa.Array:
    """Text as it stands between the quotes of PostgreSQL's JSON: no more is escaped than JSON asks for."""
    offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)
    data = column.buffers()[2]
    if data is None:
        return column
    content = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    special = set(np.unique(content[content < 0x20]).tolist())
    # The backslash first: all other escapes bring new ones.
    found = [0x5C] if (content == 0x5C).any() else []
    found += [0x22] if (content == 0x22).any() else []
    for byte in (*found, *sorted(special)):
        column = pc.replace_substring(column, chr(byte), _ESCAPES.get(byte, f"\\u{byte:04x}"))
    return column


def sha256_texts(column: pa.Array) -> pa.Array:
    """SHA-256 of each text in UTF-8, hexadecimal. No NULLs."""
    return _fixed_width(sha256_digests(column).hex().encode(), 64, len(column))


def sha256_digests(column: pa.Array) -> bytes:
    """SHA-256 of each text in UTF-8, 32 bytes each, one after the other. No NULLs."""
    offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4).tolist()
    content = memoryview(column.buffers()[2])
    sha256 = hashlib.sha256
    return b"".join([sha256(content[start:end]).digest() for start, end in pairwise(offsets)])


def _fixed_width(text: bytes | npt.NDArray[np.uint8], width: int, count: int) -> pa.Array:
    offsets = np.arange(0, width * (count + 1), width, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
