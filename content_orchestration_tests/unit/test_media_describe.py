"""Descriptions, colours and the perceptual hash: what is told is true, and what is private is not told."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from content_orchestration.core.media.colours import Colour, dominant_colours
from content_orchestration.core.media.describe import Described, describe
from content_orchestration.core.media.drawing import look
from content_orchestration.core.media.inspection import Inspection
from content_orchestration.core.media.phash import NEAR, dhash, distance, is_flat
from content_orchestration_tests import media_files as made


def photo(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """A picture of soft shapes, another one for each seed."""
    chance = random.Random(seed)
    small = Image.new("RGB", (8, 6))
    small.putdata([tuple(chance.randrange(256) for _ in range(3)) for _ in range(48)])
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (100, 100, "square"), (104, 100, "square"), (106, 100, "landscape"), (100, 106, "portrait"),
        (200, 100, "panorama"), (100, 200, "tall"), (None, None, None),
    ],
)  # fmt: skip
def test_shapes(width: int | None, height: int | None, shape: str | None) -> None:
    assert Described("image", "png", "image/png", 1, width, height).shape == shape


def test_a_description_survives_the_way_through_json() -> None:
    known = Described(
        "image", "gif", "image/gif", 12, 30, 20, 3, 1.5, "2024-05-06T07:08:09", (Colour("#0a0b0c", 0.5),), True
    )
    assert Described.from_metadata(json.loads(json.dumps(known.as_metadata()))) == known
    bare = Described("document", "pdf", "application/pdf", 9)
    assert bare.as_metadata() == {"kind": "document", "format": "pdf", "mime_type": "application/pdf", "size_bytes": 9}
    assert Described.from_metadata(bare.as_metadata()) == bare
    assert Described.from_metadata({}).kind == "document"


def test_extraction_decides_what_is_told() -> None:
    found = Inspection("image", "gif", "image/gif", "gif", 12, 30, 20, 6, 3, 1.5, "2024-05-06T07:08:09")
    colours = (Colour("#0a0b0c", 0.5),)
    full = describe(found, extract=True, colours=colours)
    assert (full.duration_s, full.captured_at, full.colours) == (1.5, "2024-05-06T07:08:09", colours)
    short = describe(found, extract=False, colours=colours)
    assert (short.duration_s, short.captured_at, short.colours) == (None, None, ())
    assert (short.width, short.height, short.frames) == (30, 20, 3)
    assert "orientation" not in full.as_metadata()


# --- colours ---------------------------------------------------------------------------------------------------------


def test_dominant_colours_are_those_of_the_picture() -> None:
    picture = Image.new("RGB", (100, 100), (200, 30, 30))
    picture.paste((20, 20, 220), (0, 0, 100, 30))
    picture.paste((0, 255, 0), (0, 30, 10, 40))
    _, colours = look(picture)
    assert [colour.hex for colour in colours] == ["#c81e1e", "#1414dc"]
    assert [colour.share for colour in colours] == pytest.approx([0.69, 0.3], abs=0.03)


def test_shades_of_one_colour_are_one() -> None:
    colours = dominant_colours([(200 + n % 20, 30 + n % 7, 30) for n in range(1_000)])
    assert len(colours) == 1
    assert colours[0].share == 1


def test_what_cannot_be_seen_has_no_colour() -> None:
    picture = Image.new("RGBA", (60, 60), (0, 255, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 60, 20))
    assert [colour.hex for colour in look(picture)[1]] == ["#ff0000"]
    assert [colour.hex for colour in look(Image.new("RGBA", (9, 9), (1, 2, 3, 0)))[1]] == ["#ffffff"]


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=300), st.randoms())
def test_colours_do_not_depend_on_the_order_of_pixels(
    pixels: list[tuple[int, int, int]], chance: random.Random
) -> None:
    first = dominant_colours(pixels)
    chance.shuffle(pixels)
    assert dominant_colours(pixels) == first
    assert len(first) <= 5
    assert sum(colour.share for colour in first) <= 1.005
    assert [colour.share for colour in first] == sorted((colour.share for colour in first), reverse=True)


# --- the perceptual hash ---------------------------------------------------------------------------------------------


def test_the_hash_is_bit_by_bit_whether_it_gets_brighter() -> None:
    rising = bytes(range(9)) * 8
    assert dhash(rising) == "f" * 16
    assert dhash(rising[::-1]) == "0" * 16
    assert dhash(b"\0\1" + b"\0" * 70) == "8" + "0" * 15
    assert dhash(b"\0" * 71 + b"\1") == "0" * 15 + "1"
    assert distance("f" * 16, "0" * 16) == 64
    assert distance("8" + "0" * 15, "0" * 15 + "1") == 2


def test_a_copy_is_near_and_another_picture_is_not() -> None:
    hashes = [look(photo(seed))[0] for seed in range(12)]
    for seed in range(12):
        picture = photo(seed, 320, 240)
        for copy in (
            picture.resize((97, 71), Image.Resampling.LANCZOS),
            Image.open(made.io.BytesIO(made.encoded(picture, "JPEG", quality=40))),
            ImageEnhance.Brightness(picture).enhance(1.1),
            ImageEnhance.Contrast(picture).enhance(0.9),
            picture.convert("L"),
        ):
            assert distance(look(copy)[0], hashes[seed]) <= NEAR
        assert not is_flat(hashes[seed])
    apart = [distance(one, other) for at, one in enumerate(hashes) for other in hashes[:at]]
    assert min(apart) > NEAR


def test_a_blank_picture_tells_nothing() -> None:
    for mode, colour in (("RGB", (9, 9, 9)), ("L", 255), ("RGBA", (0, 0, 0, 0))):
        assert is_flat(look(Image.new(mode, (90, 50), colour))[0])
    assert is_flat(look(Image.linear_gradient("L").rotate(90))[0])


def test_a_picture_of_one_pixel_can_be_looked_at() -> None:
    phash, colours = look(Image.new("RGB", (1, 1), (255, 0, 0)))
    assert (phash, colours) == ("0" * 16, (Colour("#ff0000", 1.0),))
