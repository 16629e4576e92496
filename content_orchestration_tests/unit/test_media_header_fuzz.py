"""Files made of chance and of damaged good ones: refused, or described; never another error, never slow."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from content_orchestration.core.media.exif import read_exif
from content_orchestration.core.media.inspection import Inspection, inspect
from content_orchestration.core.media.limits import Limits, Refused
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration_tests import media_files as made

SOAK = os.environ.get("SOAK") == "1"
LOOKS = settings(
    max_examples=20_000 if SOAK else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DRAWS = settings(
    max_examples=3_000 if SOAK else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_TINY = made.corners(24, 16)
_FRAMES = {"save_all": True, "append_images": [_TINY.rotate(180)]}
GOOD = [
    made.encoded(_TINY, "JPEG", exif=made.exif(6), icc_profile=made.srgb_profile()),
    made.encoded(_TINY, "JPEG", progressive=True),
    made.encoded(_TINY.convert("CMYK"), "JPEG"),
    made.encoded(_TINY, "PNG", exif=made.exif(3), icc_profile=made.srgb_profile()),
    made.encoded(_TINY.convert("P"), "PNG"),
    made.encoded(_TINY, "PNG", **_FRAMES),
    made.encoded(_TINY, "GIF", **_FRAMES),
    made.encoded(_TINY, "WEBP", exif=made.exif(8)),
    made.encoded(_TINY, "WEBP", **_FRAMES),
    made.encoded(_TINY.convert("RGBA"), "WEBP", lossless=True),
    made.encoded(_TINY, "AVIF", exif=made.exif(5)),
    made.encoded(_TINY, "AVIF", **_FRAMES),
]
OTHERS = [made.mp4(12.5), made.mp4(3, wide=True), made.zipped("[Content_Types].xml", **{"word/document.xml": b"x"})]

EDGES = (
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\1",
    b"\xff\xd9",
    b"\xff\xda",
)
Edit = tuple[float, int, bytes]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 8), st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(EDGES))),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, edits: list[Edit]) -> bytes:
    """A file with bytes overwritten, put in, taken out or cut off at some places; half of them near its start."""
    for place, how, piece in edits:
        at = int(place * min(len(data), 200 if how % 2 else len(data)))
        if how < 5:
            data = data[:at] + piece + data[at + len(piece) :]
        elif how < 7:
            data = data[:at] + piece + data[at:]
        elif how < 8:
            data = data[:at] + data[at + 8 * len(piece) :]
        else:
            data = data[: max(at, 1)]
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@LOOKS
@given(data=st.binary(max_size=600), start=st.sampled_from([b"", *(data[:16] for data in GOOD + OTHERS)]))
def test_chance_is_refused_or_described(path: Path, data: bytes, start: bytes) -> None:
    path.write_bytes(start + data)
    looked(path)


@LOOKS
@given(data=st.sampled_from(GOOD + OTHERS), edits=EDITS)
def test_damage_is_refused_or_described(path: Path, data: bytes, edits: list[Edit]) -> None:
    path.write_bytes(damaged(data, edits))
    looked(path)


@LOOKS
@given(edits=EDITS)
def test_damaged_exif_is_read_without_an_error(edits: list[Edit]) -> None:
    found = read_exif(damaged(made.exif(7), edits))
    assert 1 <= found.orientation <= 8


def looked(path: Path) -> None:
    began = time.process_time()
    found: Inspection | Refused
    try:
        found = inspect(path)
    except Refused as refused:
        found = refused
    assert time.process_time() - began < 1
    if isinstance(found, Refused):
        assert found.code
        assert len(str(found)) < 500
        return
    assert found.size_bytes == path.stat().st_size
    if found.kind == "image":
        assert found.width is not None
        assert found.height is not None
        Limits().check_size(found.width, found.height)


@pytest.fixture(scope="module")
def images() -> Iterator[ImageWorker]:
    with ImageWorker(memory_mib=256, timeout_s=20) as worker:
        yield worker


@DRAWS
@given(data=st.sampled_from(GOOD), edits=EDITS)
# What once ended the child: errors of Pillow's AVIF decoder that are neither OSError nor ValueError, and one of libvips
# that quotes the file and is no UTF-8.
@example(data=GOOD[10], edits=[(0.40625, 1, b"\0")])
@example(data=GOOD[11], edits=[(0.0993711150806248, 0, b"\x80"), (0.5206768963831861, 2, b"\0")])
@example(data=GOOD[10], edits=[(0.38050968749247416, 2, b"\x80")])
def test_a_damaged_picture_is_drawn_or_marked_failed(
    images: ImageWorker, path: Path, data: bytes, edits: list[Edit]
) -> None:
    path.write_bytes(damaged(data, edits))
    done = images.process(path, path.parent, VariantSettings((16, 24)))
    if done.failed is None:
        assert done.inspection is not None
        assert done.variants or done.inspection.kind != "image"
        assert all(one.path.stat().st_size == one.size_bytes for one in done.variants)
    else:
        assert not done.variants
        assert done.failed.code != "crashed", "a decoder died: keep this file"


def test_the_good_ones_are_good(images: ImageWorker, path: Path) -> None:
    for data in GOOD:
        path.write_bytes(data)
        assert images.process(path, path.parent, VariantSettings((16, 24))).failed is None
