"""Variants: turned, clean, never enlarged, transparent only where they must be, the same bytes each time."""

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media import child, decode_pillow, decode_vips
from content_orchestration.core.media.phash import distance
from content_orchestration.core.media.variants import VariantSettings, variant_sizes
from content_orchestration.core.media.worker import ImageWorker, Processed
from content_orchestration_tests import media_files as made

SETTINGS = VariantSettings()
SMALL = VariantSettings((40, 80))
# JPEG shifts a flat colour by no more than this in any channel.
NEAR = 24


class InProcess(ImageWorker):
    """A worker whose orders are carried out here: the files of these tests are good, and kills are tested elsewhere."""

    def __init__(self, *drawers: tuple[str, child.Draw]) -> None:
        super().__init__()
        self._drawers = list(drawers)

    def _start(self) -> Any:
        return self

    def ask(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        return json.loads(json.dumps(child.answer(json.loads(json.dumps(order)), self._drawers)))


@pytest.fixture(scope="module")
def vips() -> ImageWorker:
    return InProcess(("vips", decode_vips.draw), ("pillow", decode_pillow.draw))


@pytest.fixture(scope="module")
def pillow() -> ImageWorker:
    return InProcess(("pillow", decode_pillow.draw))


@pytest.fixture(params=["vips", "pillow"])
def worker(request: pytest.FixtureRequest) -> ImageWorker:
    return request.getfixturevalue(request.param)


def drawn(worker: ImageWorker, folder: Path, data: bytes, settings: VariantSettings = SETTINGS) -> Processed:
    path = folder / "source"
    path.write_bytes(data)
    done = worker.process(path, folder, settings)
    assert done.failed is None, done.failed
    return done


def shown(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def near(one: object, other: tuple[int, ...], within: int = NEAR) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) <= within for a, b in zip(one, other, strict=False))


def corners_of(image: Image.Image) -> list[object]:
    width, height = image.size
    return [image.getpixel((x, y)) for y in (height // 6, 5 * height // 6) for x in (width // 6, 5 * width // 6)]


# --- orientation -----------------------------------------------------------------------------------------------------

# How a picture that is seen upright is stored under each orientation: the inverse of what is to be applied.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(name: str, orientation: int, worker: ImageWorker, tmp_path: Path) -> None:
    upright = made.corners(400, 300)
    turn = STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    done = drawn(worker, tmp_path, made.encoded(stored, name, exif=made.exif(orientation)), SMALL)
    assert [(one.width, one.height) for one in done.variants] == [(40, 30), (80, 60)]
    assert done.described is not None
    assert (done.described.width, done.described.height, done.described.shape) == (400, 300, "landscape")
    for one in done.variants:
        image = shown(one.path)
        assert image.size == (one.width, one.height)
        assert image.getexif().get(0x0112, 1) == 1
        for found, wanted in zip(corners_of(image), made.CORNERS, strict=True):
            assert near(found, wanted), (orientation, one.width)


def test_the_decoder_turns_avif_by_its_own_properties(worker: ImageWorker, tmp_path: Path) -> None:
    # Pillow writes the orientation as a property of the picture, which decoders must apply.
    done = drawn(worker, tmp_path, made.encoded(made.corners(300, 400), "AVIF", exif=made.exif(6)), SMALL)
    assert done.described is not None
    assert (done.described.width, done.described.height) == (400, 300)
    assert [(one.width, one.height) for one in done.variants] == [(40, 30), (80, 60)]
    wanted = corners_of(made.corners(300, 400).transpose(Image.Transpose.ROTATE_270))
    for found, colour in zip(corners_of(shown(done.variants[-1].path)), wanted, strict=True):
        assert near(found, colour)  # type: ignore[arg-type]


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (3000, 2000, [(1200, 800), (800, 533), (400, 267), (150, 100)]),
        (1200, 900, [(1200, 900), (800, 600), (400, 300), (150, 112)]),
        (1199, 900, [(1199, 900), (800, 601), (400, 300), (150, 113)]),
        (1000, 10, [(1000, 10), (800, 8), (400, 4), (150, 2)]),
        (500, 1, [(500, 1), (400, 1), (150, 1)]),
        (150, 150, [(150, 150)]),
        (3, 7, [(3, 7)]),
        (1, 1, [(1, 1)]),
    ],
)
def test_widths(width: int, height: int, expected: list[tuple[int, int]], worker: ImageWorker, tmp_path: Path) -> None:
    assert variant_sizes(width, height, SETTINGS.sizes) == expected
    done = drawn(worker, tmp_path, made.encoded(made.corners(width, height), "PNG"))
    assert [(one.width, one.height) for one in done.variants] == expected[::-1]
    for one in done.variants:
        assert shown(one.path).size == (one.width, one.height)
        assert one.width <= width
        assert one.path.stat().st_size == one.size_bytes
        assert sha256(one.path.read_bytes()).hexdigest() == one.sha256


def test_a_jpeg_that_is_decoded_at_a_fraction_keeps_its_edges(worker: ImageWorker, tmp_path: Path) -> None:
    for width, height in ((3001, 2003), (2881, 1621), (1441, 899), (9_601, 37)):
        done = drawn(worker, tmp_path, made.encoded(made.corners(width, height), "JPEG", quality=95))
        largest = done.variants[-1]
        assert (largest.width, largest.height) == (1200, max(1, round(height * 1200 / width)))
        for found, wanted in zip(corners_of(shown(largest.path)), made.CORNERS, strict=True):
            assert near(found, wanted)


def test_a_fraction_looks_like_the_whole(vips: ImageWorker, tmp_path: Path) -> None:
    photo = Image.effect_noise((750, 500), 60).resize((3000, 2000), Image.Resampling.BICUBIC).convert("RGB")
    done = drawn(vips, tmp_path, made.encoded(photo, "JPEG", quality=95))
    for one in done.variants:
        wanted = photo.resize((one.width, one.height), Image.Resampling.LANCZOS).convert("L").tobytes()
        found = shown(one.path).convert("L").tobytes()
        error = sum((a - b) ** 2 for a, b in zip(wanted, found, strict=True)) / len(wanted)
        assert error < 40, f"{one.width}: under 32 dB"
        assert 0.2 < one.size_bytes / (one.width * one.height) * 8 < 8, "bits a pixel"


@pytest.mark.parametrize(
    ("sizes", "quality"), [((), 85), ((15,), 85), ((9000,), 85), ((150,), 0), ((150,), 101)]
)  # fmt: skip
def test_settings_are_checked(sizes: tuple[int, ...], quality: int) -> None:
    with pytest.raises(Permanent, match="MEDIA_"):
        VariantSettings(sizes, quality)


def test_the_key_names_what_changes_the_bytes() -> None:
    assert VariantSettings((800, 150, 150), 70).key == "150,800 q70 r1"
    assert VariantSettings((150, 800), 70, describe=False).key == "150,800 q70 r1"
    assert VariantSettings().key != VariantSettings(quality=84).key


def test_quality_decides_the_bytes(worker: ImageWorker, tmp_path: Path) -> None:
    data = made.encoded(Image.effect_noise((600, 400), 50), "PNG")
    sizes = [
        drawn(worker, tmp_path, data, VariantSettings((400,), quality)).variants[0].size_bytes
        for quality in (40, 85, 95)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


# --- what goes and what stays ----------------------------------------------------------------------------------------

SECRETS = (
    b"GPS", b"4711", b"SERIAL", b"Personname", b"CameraM", b"Secret", b"exif:", b"xmpmeta", b"Exif", b"2024:05:06",
    b"hidden",
)  # fmt: skip


def test_nothing_of_the_metadata_is_in_any_output(worker: ImageWorker, tmp_path: Path) -> None:
    picture = made.corners(400, 300)
    profile = made.srgb_profile()
    sources = {
        "JPEG": made.encoded(picture, "JPEG", exif=made.exif(), xmp=made.XMP, comment=b"hidden", icc_profile=profile),
        "WEBP": made.encoded(picture, "WEBP", exif=made.exif(), xmp=made.XMP, icc_profile=profile),
        "AVIF": made.encoded(picture, "AVIF", exif=made.exif(), xmp=made.XMP, icc_profile=profile),
        "PNG": made.encoded(picture, "PNG", exif=made.exif(), icc_profile=profile)[:-12]
        + made.chunk(b"tEXt", b"Comment\0hidden GPS") + made.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + made.XMP)
        + made.chunk(b"IEND"),
        "GIF": made.encoded(picture, "GIF", comment=b"hidden GPS"),
        "transparent PNG": made.encoded(Image.new("RGBA", (90, 90), (9, 9, 9, 9)), "PNG", exif=made.exif()),
        "transparent WEBP": made.encoded(Image.new("RGBA", (90, 90), (9, 9, 9, 9)), "WEBP", exif=made.exif()),
    }  # fmt: skip
    for name, data in sources.items():
        assert any(secret in data for secret in SECRETS), f"{name}: the test's own source has no metadata"
        done = drawn(worker, tmp_path, data, SMALL)
        for one in done.variants:
            out = one.path.read_bytes()
            assert not [secret for secret in SECRETS if secret in out], name
            image = shown(one.path)
            assert not image.getexif(), name
            assert not {"exif", "xmp", "comment", "XML:com.adobe.xmp"} & set(image.info), name
        assert done.described is not None
        told = repr(done)
        assert not [
            s for s in ("48", "51.", "29.5", "GPS", "4711", "Personname", "Camera") if s in str(done.described)
        ], name
        assert "Personname" not in told
        if name in ("JPEG", "PNG", "WEBP"):
            assert done.described.captured_at == "2024-05-06T07:08:09+02:00"


def test_the_thumbnail_inside_exif_goes(worker: ImageWorker, tmp_path: Path) -> None:
    inner = made.encoded(Image.effect_noise((100, 100), 90), "JPEG")
    data = made.with_segment(made.encoded(made.corners(), "JPEG"), 0xE1, made.exif() + inner)
    for one in drawn(worker, tmp_path, data, SMALL).variants:
        assert one.path.read_bytes().count(b"\xff\xd8\xff") == 1


def test_the_colour_profile_stays(worker: ImageWorker, tmp_path: Path) -> None:
    profile = made.srgb_profile()
    for name in ("JPEG", "PNG", "WEBP", "AVIF"):
        done = drawn(worker, tmp_path, made.encoded(made.corners(), name, icc_profile=profile), SMALL)
        for one in done.variants:
            assert shown(one.path).info.get("icc_profile") == profile, name
    clear = made.encoded(Image.new("RGBA", (90, 90), (200, 9, 9, 90)), "PNG", icc_profile=profile)
    for one in drawn(worker, tmp_path, clear, SMALL).variants:
        assert shown(one.path).info.get("icc_profile") == profile
    bare = drawn(worker, tmp_path, made.encoded(made.corners(), "JPEG"), SMALL)
    assert "icc_profile" not in shown(bare.variants[0].path).info


def swapped_profile(padding: int = 0) -> bytes:
    """An RGB profile in which red and green change places, perhaps padded to a size."""
    data = bytearray(made.srgb_profile())
    count = int.from_bytes(data[128:132], "big")
    for at in range(132, 132 + 12 * count, 12):
        name = bytes(data[at : at + 4])
        if name in (b"rXYZ", b"gXYZ"):
            data[at : at + 4] = b"gXYZ" if name == b"rXYZ" else b"rXYZ"
    data += b"\0" * padding
    data[0:4] = len(data).to_bytes(4, "big")
    return bytes(data)


def test_a_large_profile_is_applied_and_left_out(worker: ImageWorker, tmp_path: Path) -> None:
    picture = Image.new("RGB", (200, 100), (250, 10, 10))
    large = made.encoded(picture, "JPEG", icc_profile=swapped_profile(40_000), quality=95)
    image = shown(drawn(worker, tmp_path, large, SMALL).variants[-1].path)
    assert "icc_profile" not in image.info
    assert near(image.getpixel((40, 20)), (10, 250, 10)), "red and green have changed places"
    small = made.encoded(picture, "JPEG", icc_profile=swapped_profile(), quality=95)
    image = shown(drawn(worker, tmp_path, small, SMALL).variants[-1].path)
    assert "icc_profile" in image.info
    assert near(image.getpixel((40, 20)), (250, 10, 10)), "the numbers stay, the profile says what they mean"


def test_a_profile_that_is_none_does_no_harm(worker: ImageWorker, tmp_path: Path) -> None:
    for junk in (b"junk" * 100, b"junk" * 10_000):
        done = drawn(worker, tmp_path, made.encoded(made.corners(), "JPEG", icc_profile=junk), SMALL)
        assert near(corners_of(shown(done.variants[-1].path))[0], made.RED)


@pytest.mark.parametrize("profile", [None, "junk"])
def test_cmyk_becomes_srgb(profile: str | None, worker: ImageWorker, tmp_path: Path) -> None:
    extra = {"icc_profile": b"junk" * 99} if profile else {}
    white, black = Image.new("CMYK", (200, 100)), Image.new("CMYK", (200, 100), (0, 0, 0, 255))
    magenta = Image.new("CMYK", (200, 100), (0, 255, 0, 0))
    for picture, test in (
        (white, lambda p: min(p) > 240),
        (black, lambda p: max(p) < 60),
        (magenta, lambda p: p[0] > 150 and p[1] < 80),
    ):
        done = drawn(worker, tmp_path, made.encoded(picture, "JPEG", quality=95, **extra), SMALL)
        image = shown(done.variants[-1].path)
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
        assert test(image.getpixel((40, 20))), image.getpixel((40, 20))


# --- transparency ----------------------------------------------------------------------------------------------------


def test_transparency_that_is_used_is_kept_as_webp(worker: ImageWorker, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (400, 300), (255, 0, 0, 255))
    # Off the grid of the smaller variant, so that the edge is mixed there.
    picture.paste((0, 255, 0, 0), (201, 0, 400, 300))
    for name in ("PNG", "WEBP", "AVIF"):
        done = drawn(
            worker,
            tmp_path,
            made.encoded(picture, name, lossless=True) if name == "WEBP" else made.encoded(picture, name),
        )
        assert done.described is not None
        assert done.described.has_alpha
        assert {(one.format, one.mime_type, one.path.suffix) for one in done.variants} == {
            ("webp", "image/webp", ".webp")
        }
        for one in done.variants:
            image = shown(one.path).convert("RGBA")
            left, right = image.getpixel((one.width // 8, 20)), image.getpixel((7 * one.width // 8, 20))
            assert near(left, (255, 0, 0, 255)), name
            assert near((right[3],), (0,)), name  # type: ignore[index]
            # The green that nobody sees must not shine through at the edge.
            edge = [image.getpixel((x, one.height // 2)) for x in range(one.width // 2 - 4, one.width // 2 + 4)]
            assert not [p for p in edge if p[3] > 40 and p[1] > 90], (name, edge)  # type: ignore[index]


def test_a_palette_with_a_transparent_colour(worker: ImageWorker, tmp_path: Path) -> None:
    picture = Image.new("P", (100, 100), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (50, 0, 100, 100))
    for name in ("GIF", "PNG"):
        done = drawn(worker, tmp_path, made.encoded(picture, name, transparency=1), SMALL)
        assert done.variants[0].format == "webp"
        image = shown(done.variants[-1].path).convert("RGBA")
        assert near(image.getpixel((10, 10)), (255, 0, 0, 255))
        assert near((image.getpixel((70, 10))[3],), (0,))  # type: ignore[index]


@pytest.mark.parametrize("alpha", [255, 252])
def test_transparency_that_is_not_used_is_dropped(alpha: int, worker: ImageWorker, tmp_path: Path) -> None:
    done = drawn(worker, tmp_path, made.encoded(Image.new("RGBA", (200, 100), (10, 20, 200, alpha)), "PNG"))
    assert {one.format for one in done.variants} == {"jpeg"}
    assert done.described is not None
    assert not done.described.has_alpha
    assert near(shown(done.variants[-1].path).getpixel((50, 50)), (10, 20, 200))


def test_what_webp_cannot_hold_is_put_on_white(worker: ImageWorker, tmp_path: Path) -> None:
    tall = Image.new("RGBA", (20, 17_000), (255, 0, 0, 0))
    tall.paste((255, 0, 0, 255), (0, 8_500, 20, 17_000))
    done = drawn(worker, tmp_path, made.encoded(tall, "PNG"), VariantSettings((20,)))
    assert done.variants[0].format == "jpeg"
    image = shown(done.variants[0].path)
    assert near(image.getpixel((10, 100)), (255, 255, 255))
    assert near(image.getpixel((10, 16_900)), (255, 0, 0))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "I;16"])
def test_other_kinds_of_pixels(mode: str, worker: ImageWorker, tmp_path: Path) -> None:
    if mode == "I;16":
        picture = Image.new("I;16", (200, 100), 40_000)
    else:
        picture = Image.new("L", (200, 100), 156).convert(mode) if mode != "1" else Image.new("1", (200, 100), 1)
    done = drawn(worker, tmp_path, made.encoded(picture, "PNG"), SMALL)
    image = shown(done.variants[-1].path).convert("RGB")
    assert near(image.getpixel((40, 20)), (156,) * 3 if mode != "1" else (255,) * 3, 8)


def test_the_first_frame_of_an_animation(worker: ImageWorker, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (200, 100), colour) for colour in (made.BLUE, made.RED)]
    for name in ("GIF", "WEBP", "PNG", "AVIF"):
        done = drawn(worker, tmp_path, made.encoded(frames[0], name, save_all=True, append_images=frames[1:]), SMALL)
        assert done.described is not None
        assert done.described.frames == 2
        assert near(shown(done.variants[-1].path).getpixel((40, 20)), made.BLUE), name


# --- engines ---------------------------------------------------------------------------------------------------------


def test_the_same_bytes_each_time(vips: ImageWorker, tmp_path: Path) -> None:
    sources = [
        made.encoded(Image.effect_noise((1300, 900), 60).convert("RGB"), "JPEG", exif=made.exif(6)),
        made.encoded(made.corners(900, 700, "RGBA").resize((500, 400)), "PNG"),
        made.encoded(Image.new("RGBA", (300, 200), (90, 0, 0, 90)), "PNG"),
    ]
    seen = [[(one.sha256, one.width) for data in sources for one in drawn(vips, tmp_path, data).variants]]
    for threads in (1, 1, 3):
        with ImageWorker(threads=threads) as worker:
            done = [drawn(worker, tmp_path, data) for data in sources]
            seen.append([(one.sha256, one.width) for each in done for one in each.variants])
            seen.append([(one.sha256, one.width) for data in sources for one in drawn(worker, tmp_path, data).variants])
    assert all(each == seen[0] for each in seen)


def test_both_engines_draw_the_same_picture(vips: ImageWorker, pillow: ImageWorker, tmp_path: Path) -> None:
    photo = Image.effect_noise((60, 40), 90).resize((1800, 1200), Image.Resampling.BICUBIC).convert("RGB")
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "GIF"):
        data = made.encoded(photo, name)
        one, two = (drawn(worker, tmp_path, data) for worker in (vips, pillow))
        assert (one.engine, two.engine) == ("vips", "pillow")
        assert [(v.width, v.height, v.format) for v in one.variants] == [
            (v.width, v.height, v.format) for v in two.variants
        ]
        assert one.phash is not None
        assert two.phash is not None
        assert distance(one.phash, two.phash) <= 3, name


def test_pillow_loads_what_libvips_does_not(vips: ImageWorker, tmp_path: Path) -> None:
    # The code size of the LZW data is out of range for libnsgif; Pillow reads what it can.
    gif = made.gif(1).replace(b"\2\2\x44\1\0", b"\x0c\2\x44\1\0")
    done = drawn(vips, tmp_path, gif)
    assert done.engine == "pillow"
    assert [(one.width, one.format) for one in done.variants] == [(1, "jpeg")]
    assert drawn(vips, tmp_path, made.gif(1)).engine == "vips"
    spoilt = bytearray(made.encoded(made.corners(), "PNG"))
    at = spoilt.index(b"IDAT")
    spoilt[at + 4 + int.from_bytes(spoilt[at - 4 : at], "big")] ^= 1
    done = drawn(vips, tmp_path, bytes(spoilt))
    assert done.engine == "pillow"
    assert near(corners_of(shown(done.variants[-1].path))[1], made.GREEN)


def test_what_neither_can_decode_is_marked_failed(worker: ImageWorker, tmp_path: Path) -> None:
    path = tmp_path / "source"
    picture = made.encoded(made.corners(), "PNG")
    for data in (
        made.png(30, 30, idat=b"no deflate at all"),
        made.avif(50, 50),
        made.riff(made.vp8l(50, 50)),
        picture[:45] + bytes(255 - byte for byte in picture[45:-60]) + picture[-60:],
    ):
        path.write_bytes(data)
        done = worker.process(path, tmp_path, SMALL)
        assert done.failed is not None
        assert done.failed.code in ("undecodable", "truncated", "malformed", "bomb_ratio")
        assert not done.failed.again
        assert not done.variants
    path.write_bytes(picture)
    assert worker.process(path, tmp_path, SMALL).failed is None


def test_a_refused_file_never_reaches_the_child(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(made.with_size(made.encoded(made.corners(), "JPEG"), 64_250, 64_250))
    with ImageWorker() as worker:
        done = worker.process(path, tmp_path, SETTINGS)
        assert done.failed is not None
        assert (done.failed.code, done.failed.again, done.inspection, done.variants) == ("bomb_pixels", False, None, ())
        assert worker.child_pid is None


def test_what_is_no_picture_is_described_without_a_child(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(made.mp4(12.5))
    with ImageWorker() as worker:
        done = worker.process(path, tmp_path, SETTINGS)
        assert (done.failed, done.variants, done.phash, worker.child_pid) == (None, (), None, None)
        assert done.described is not None
        assert done.described.as_metadata() == {
            "kind": "video", "format": "mp4", "mime_type": "video/mp4", "size_bytes": len(made.mp4(12.5)),
            "duration_s": 12.5,
        }  # fmt: skip


def test_extraction_can_be_switched_off(worker: ImageWorker, tmp_path: Path) -> None:
    data = made.encoded(made.corners(), "JPEG", exif=made.exif())
    told = drawn(worker, tmp_path, data, VariantSettings((40,), describe=False)).described
    assert told is not None
    assert set(told.as_metadata()) == {"kind", "format", "mime_type", "size_bytes", "width", "height", "shape"}


def test_a_folder_that_cannot_be_written_is_not_the_files_fault(vips: ImageWorker, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(made.encoded(made.corners(), "JPEG"))
    with pytest.raises(Transient, match="cannot be written"):
        vips.process(path, tmp_path / "missing", SMALL)
    assert vips.process(path, tmp_path, SMALL).failed is None
    with pytest.raises(FileNotFoundError):
        vips.process(tmp_path / "none", tmp_path, SMALL)


def test_profiles_of_the_tests_are_profiles() -> None:
    for data in (swapped_profile(), swapped_profile(40_000)):
        assert ImageCms.ImageCmsProfile(io.BytesIO(data)).profile.xcolor_space.strip() == "RGB"
