"""What stands for a row in a comparison, and the sums over it. Which rows are compared is decided elsewhere.

A row is its id, its tenant and the SHA-256 of its payload. Its digest is the MD5 of these three as text, joined by
bars; a bucket, named by the last hexadecimal digits of the id, holds four sums over the 32-bit words of its digests.

The digest binds: whichever of the three differs, or is swapped between rows, the 128 bits of the digest are others,
and four sums are equal by chance in 2^-128. No two triples give one text: PostgreSQL's have 36, 36 and 64 characters
without a bar, so a text with two bars has its fields where PostgreSQL has them, whatever BigQuery's columns hold.
MD5 is enough because its collisions have to be made: nobody chooses a text of which 64 digits are a SHA-256. It is a
third of the price of SHA-256 where that is not in hardware, and all three servers have it.

The last digits are evenly spread in ids of the versions 3, 4, 5, 7 and 8, and in numbered ones. Time-based ids (1, 6)
of one machine share them: the comparison stays right and reads more rows where something differs.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from content_orchestration.core.replication.arrow_text import uuid_texts

RECORD = np.dtype([("id", "V16"), ("tenant", "V16"), ("sha256", "V32")])
"""A row of PostgreSQL as it is kept: 64 bytes."""

Records = npt.NDArray[np.void]

_WORD_BITS = 32
_TEXT = 36 + 1 + 36 + 1 + 64


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rows of one bucket: how many, four sums over digests, and copies of a current state beyond its first."""

    rows: int = 0
    sums: tuple[int, int, int, int] = (0, 0, 0, 0)
    surplus: int = 0


EMPTY = Bucket()


class Sums:
    """The buckets of records that come a few thousand at a time. A bucket's name has `digits` digits."""

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self._rows = np.zeros(16**digits, np.int64)
        self._sums = np.zeros((4, 16**digits), np.int64)

    def add(self, records: Records) -> None:
        """Count the records in."""
        places = numbers(records, self._digits)
        words = np.frombuffer(digests(records), ">u4").reshape(-1, 4)
        np.add.at(self._rows, places, 1)
        for number, sums in enumerate(self._sums):
            np.add.at(sums, places, words[:, number].astype(np.int64))

    def buckets(self) -> dict[str, Bucket]:
        """The buckets that hold rows, by name."""
        return {
            f"{place:0{self._digits}x}": Bucket(int(self._rows[place]), tuple(map(int, self._sums[:, place])))  # type: ignore[arg-type]
            for place in np.flatnonzero(self._rows).tolist()
        }


def numbers(records: Records, digits: int) -> npt.NDArray[np.int64]:
    """The last `digits` hexadecimal digits of each id, at most 8."""
    ids = _bytes(records["id"]).reshape(-1, 16)
    tails = np.ascontiguousarray(ids[:, 12:]).view(">u4").reshape(-1)
    return (tails & np.uint32(16**digits - 1)).astype(np.int64)


def digests(records: Records) -> bytes:
    """The MD5 of each record, 16 bytes each. BigQuery's twin is in `bigquery/bucket_digests.sql`."""
    text = np.full((len(records), _TEXT), ord("|"), np.uint8)
    text[:, :36] = uuid_characters(records["id"])
    text[:, 37:73] = uuid_characters(records["tenant"])
    text[:, 74:] = hexadecimal(records["sha256"])
    content = text.tobytes()
    md5 = hashlib.md5
    # Said not to be for security, it works in FIPS mode too.
    return b"".join(
        [md5(content[start : start + _TEXT], usedforsecurity=False).digest() for start in range(0, len(content), _TEXT)]
    )


def uuid_characters(ids: Records) -> npt.NDArray[np.uint8]:
    """UUIDs of 16 bytes as rows of 36 characters."""
    if not len(ids):
        return np.empty((0, 36), np.uint8)
    column = pa.Array.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(_bytes(ids))])
    return np.frombuffer(uuid_texts(column).buffers()[2], np.uint8).reshape(-1, 36)


def hexadecimal(hashes: Records) -> npt.NDArray[np.uint8]:
    """SHA-256 of 32 bytes as rows of 64 characters."""
    return np.frombuffer(_bytes(hashes).tobytes().hex().encode(), np.uint8).reshape(-1, 64)


def _bytes(field: Records) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(field).view(np.uint8)
