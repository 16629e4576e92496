"""Headers: what each format says is read right, and what lies is refused before anything is decoded."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from content_orchestration.core.media.exif import read_exif
from content_orchestration.core.media.inspection import Inspection, inspect
from content_orchestration.core.media.limits import Limits, Refused
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests import media_files as made

PICTURE = made.corners()
JPEG = made.encoded(PICTURE, "JPEG")
PNG = made.encoded(PICTURE, "PNG")


def look(folder: Path, data: bytes, limits: Limits | None = None) -> Inspection:
    path = folder / "file"
    path.write_bytes(data)
    return inspect(path, limits or Limits())


def code(folder: Path, data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Refused) as refused:
        look(folder, data, limits)
    assert ":" in str(refused.value), "the message names no way out"
    return refused.value.code


# --- what is taken in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (JPEG, ("jpeg", 1)),
        (made.encoded(PICTURE, "JPEG", progressive=True), ("jpeg", 1)),
        (made.encoded(PICTURE.convert("L"), "JPEG"), ("jpeg", 1)),
        (made.encoded(PICTURE.convert("CMYK"), "JPEG"), ("jpeg", 1)),
        (made.encoded(PICTURE, "JPEG", restart_marker_blocks=4), ("jpeg", 1)),
        (PNG, ("png", 1)),
        (made.encoded(PICTURE.convert("P"), "PNG"), ("png", 1)),
        (made.encoded(PICTURE, "WEBP"), ("webp", 1)),
        (made.encoded(PICTURE, "WEBP", lossless=True), ("webp", 1)),
        (made.encoded(PICTURE, "GIF"), ("gif", 1)),
        (made.encoded(PICTURE, "AVIF"), ("avif", 1)),
        (
            made.encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
            ("png", 2),
        ),
        (made.encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)], duration=250), ("webp", 2)),
        (made.encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)], duration=250), ("gif", 2)),
        (made.encoded(PICTURE, "AVIF", save_all=True, append_images=[PICTURE.rotate(180)], duration=250), ("avif", 2)),
    ],
)
def test_a_picture_is_told_by_its_bytes(data: bytes, expected: tuple[str, int], tmp_path: Path) -> None:
    found = look(tmp_path, data)
    assert (found.format, found.frames) == expected
    assert (found.kind, found.width, found.height, found.size_bytes) == ("image", 640, 480, len(data))
    assert found.mime_type == f"image/{expected[0]}"
    assert (found.duration_s is not None) == (expected[1] > 1)


def test_the_duration_of_animations(tmp_path: Path) -> None:
    frames = {"save_all": True, "append_images": [PICTURE.rotate(180)], "duration": 250}
    for name in ("GIF", "WEBP", "PNG", "AVIF"):
        assert look(tmp_path, made.encoded(PICTURE, name, **frames)).duration_s == pytest.approx(0.5), name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_orientation_and_date_are_read_and_sides_are_as_seen(name: str, orientation: int, tmp_path: Path) -> None:
    found = look(tmp_path, made.encoded(PICTURE, name, exif=made.exif(orientation)))
    assert found.orientation == orientation
    assert (found.width, found.height) == ((640, 480) if orientation < 5 else (480, 640))
    assert found.captured_at == "2024-05-06T07:08:09+02:00"


@pytest.mark.parametrize(
    ("taken", "zone", "expected"),
    [
        ("2024:05:06 07:08:09", "", "2024-05-06T07:08:09"),
        ("2024:05:06 07:08:09", "+99:00", "2024-05-06T07:08:09"),
        ("2024:02:31 07:08:09", "+02:00", None),
        ("0000:00:00 00:00:00", "", None),
        ("<script>alert(1)", "", None),
    ],
)
def test_a_date_that_is_none_is_not_kept(taken: str, zone: str, expected: str | None, tmp_path: Path) -> None:
    assert read_exif(made.exif(taken=taken, zone=zone)).captured_at == expected


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x63\0\0",
        b"II*\0\x08\0\0\0\2\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x03\x90\2\0\x14\0\0\0\xff\xff\xff\xff",
    ],
)
def test_damaged_exif_reads_as_none(block: bytes) -> None:
    assert (read_exif(block).orientation, read_exif(block).captured_at) == (1, None)


@pytest.mark.parametrize(
    ("data", "name", "kind", "seconds"),
    [
        (made.mp4(12.5), "mp4", "video", 12.5),
        (made.mp4(7200, wide=True), "mp4", "video", 7200),
        (made.mp4(3, brand=b"qt  "), "mov", "video", 3),
        (made.mp4(3, brand=b"M4A "), "m4a", "document", 3),
        (made.mp4(3, brand=b"3gp9"), "mp4", "video", 3),
        (made.mp4(0), "mp4", "video", None),
        (made.mp4(3)[:-60], "mp4", "video", None),
        (made.mp4(3)[:30] + b"\0\0\0\4free", "mp4", "video", None),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "webm", "video", None),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "mkv", "video", None),
        (b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih\x38\0\0\0" + struct.pack("<IIIIII", 40_000, 0, 0, 0, 250, 0),
         "avi", "video", 10),
        (b"RIFF\0\0\0\0AVI LIST" + b"\0" * 60, "avi", "video", None),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16) + b"data"
         + struct.pack("<I", 32000) + b"\0" * 32000, "wav", "document", 2),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "wav", "document", None),
        (b"RIFF\0\0\0\0WAVEabcd\0\0\0\0", "wav", "document", None),
        (b"RIFF\0\0\0\0WAVE" + b"abcd\0\0\0\0" * 65, "wav", "document", None),
        (b"fLaC\0\0\0\x22" + b"\0" * 10 + ((44_100 << 44) | 88_200).to_bytes(8, "big"), "flac", "document", 2),
        (b"fLaC", "flac", "document", None),
        (b"OggS\0\2", "ogg", "document", None),
        (b"ID3\4\0\0", "mp3", "document", None),
        (b"\xff\xfb\x90\x64\0\0", "mp3", "document", None),
        (b"%PDF-1.7\n", "pdf", "document", None),
        (made.zipped("[Content_Types].xml", **{"word/document.xml": b"x"}), "docx", "document", None),
        (made.zipped("[Content_Types].xml", **{"xl/workbook.xml": b"x"}), "xlsx", "document", None),
        (made.zipped("[Content_Types].xml", **{"ppt/presentation.xml": b"x"}), "pptx", "document", None),
        (made.zipped("mimetype", b"application/vnd.oasis.opendocument.text"), "odt", "document", None),
        (made.zipped("mimetype", b"application/epub+zip"), "epub", "document", None),
        ("Grüße, 日本\r\n\ta;b;c\n".encode(), "text", "document", None),
        (b"\xef\xbb\xbf# Title\n", "text", "document", None),
        (("x" * 4_095 + "ü").encode(), "text", "document", None),
    ],
)  # fmt: skip
def test_films_sound_and_documents(data: bytes, name: str, kind: str, seconds: float | None, tmp_path: Path) -> None:
    found = look(tmp_path, data)
    assert (found.format, found.kind, found.duration_s) == (name, kind, seconds)
    assert found.width is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"\0", "format_unknown"),
        (bytes(range(256)), "format_unknown"),
        (b"\x80\x81\x82", "format_unknown"),
        (b"\xff\xfe" + "plain".encode("utf-16-le"), "format_unknown"),
        (b"\xff\xfb\xf0\x00", "format_unknown"),
        (made.encoded(PICTURE, "TIFF"), "format_not_allowed"),
        (made.encoded(PICTURE, "BMP"), "format_not_allowed"),
        (made.encoded(PICTURE, "ICO"), "format_not_allowed"),
        (made.encoded(PICTURE, "JPEG2000"), "format_not_allowed"),
        (made.box(b"ftyp", b"heic\0\0\0\0mif1heic"), "format_not_allowed"),
        (made.box(b"ftyp", b"crx \0\0\0\1crx "), "format_not_allowed"),
        (made.zipped(), "format_not_allowed"),
        (made.zipped("mimetype", b"application/java-archive"), "format_not_allowed"),
        (b"MZ\x90\0", "format_not_allowed"),
        (b"\x7fELF\2", "format_not_allowed"),
        (b"#!/bin/sh\n", "format_not_allowed"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "format_not_allowed"),
        (b"{\\rtf1", "format_not_allowed"),
        (b"<!doctype html><p>", "markup"),
        (b"  \n<html>", "markup"),
        (b"<?xml version='1.0'?><a/>", "markup"),
        (b"\xff\xfe" + "<html>".encode("utf-16-le"), "markup"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
        (b"<?xml version='1.0'?>\n<!-- x --><s:svg xmlns:s='http://www.w3.org/2000/svg'/>", "svg"),
        (b"\xfe\xff" + "<svg>".encode("utf-16-be"), "svg"),
        (b"<?xml version='1.0'?><!DOCTYPE svg [" + b"<!ENTITY a 'aaaaaaaaaa'>" * 500 + b"]><svg>&a;</svg>", "svg"),
    ],
)
def test_what_is_not_taken_in(data: bytes, expected: str, tmp_path: Path) -> None:
    assert code(tmp_path, data) == expected


# --- lies ------------------------------------------------------------------------------------------------------------

BOMBS: dict[str, tuple[bytes, str]] = {
    "jpeg 64250": (made.with_size(JPEG, 64_250, 64_250), "bomb_pixels"),
    "jpeg 10000 in 2 KB": (made.with_size(JPEG, 10_000, 10_000), "bomb_ratio"),
    "jpeg scans": (JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * 100 + b"\xff\xd9", "bomb_scans"),
    "jpeg segments": (JPEG[:2] + made.segment(0xFE, b"") * 100_000 + JPEG[2:], "bomb_segments"),
    "png 64250": (made.png(64_250, 64_250, idat=b"x"), "bomb_pixels"),
    "png zip-like": (made.png(9_000, 9_000), "bomb_ratio"),
    "png zip-like text": (made.png(1, 1, [made.chunk(b"zTXt", b"a\0\0" + made.inflating(50_000_000))]), "bomb_ratio"),
    "png zip-like utf-8": (
        made.png(1, 1, [made.chunk(b"iTXt", b"a\0\1\0\0\0" + made.inflating(50_000_000))]), "bomb_ratio"),
    "png zip-like profile": (
        made.png(1, 1, [made.chunk(b"iCCP", b"a\0\0" + made.inflating(50_000_000))]), "bomb_ratio"),
    "png long text": (made.png(1, 1, [made.chunk(b"tEXt", b"a\0" + b"x" * 300_000)]), "bomb_ratio"),
    "png chunks": (made.png(1, 1, [made.chunk(b"IDAT")] * 100_000), "bomb_segments"),
    "png other chunks": (made.png(1, 1, [made.chunk(b"tIME")] * 100_000), "bomb_segments"),
    "apng 10^5 frames": (made.apng(100_000), "bomb_frames"),
    "apng 10^5 frames, 3 claimed": (made.apng(100_000, declared=3), "bomb_frames"),
    "gif 10^5 frames": (made.gif(100_000), "bomb_frames"),
    "gif 64250": (made.gif(1, 64_250, 64_250), "bomb_pixels"),
    "gif canvas": (made.gif(1, 10_000, 10_000), "bomb_ratio"),
    "gif 900 large frames": (made.gif(900, 4_000, 4_000) + b"\0" * 64_000, "bomb_frames"),
    "webp 10^5 frames": (made.riff(made.vp8x(9, 9), *[made.anmf()] * 100_000), "bomb_frames"),
    "webp 16384": (made.riff(made.vp8l(16_384, 16_384)), "bomb_pixels"),
    "webp canvas": (made.riff(made.vp8x(1 << 24, 1 << 24), made.vp8l(1, 1)), "bomb_pixels"),
    "webp 9000 in 34 bytes": (made.riff(made.vp8l(9_000, 9_000)), "bomb_ratio"),
    "webp chunks": (made.riff(*[(b"junk", b"")] * 100_000, made.vp8l(1, 1)), "bomb_segments"),
    "avif 64250": (made.avif(64_250, 64_250), "bomb_pixels"),
    "avif 10000 in 144 bytes": (made.avif(10_000, 10_000), "bomb_ratio"),
    "avif boxes": (made.avif(9, 9, made.box(b"free") * 100_000), "bomb_segments"),
    "avif 1 MiB of description": (
        made.box(b"ftyp", b"avif\0\0\0\0") + made.box(b"meta", b"\0" * 1_100_000), "bomb_segments"),
    "jpeg truncated": (JPEG[: len(JPEG) // 2], "truncated"),
    "png truncated": (PNG[:-30], "truncated"),
    "svg with entities": (
        b"<!DOCTYPE svg [<!ENTITY a 'x'>" + b"<!ENTITY b '&a;&a;&a;&a;&a;&a;'>" * 100_000 + b"]><svg>&b;</svg>", "svg"),
    "jpeg and zip": (JPEG + made.zipped(), "polyglot_archive"),
    "jpeg and large zip": (JPEG + made.zipped(body=b"\0" * 1_000_000), "polyglot_archive"),
    "gif and script": (made.gif(1) + b"<script>alert(1)</script>", "trailing_data"),
    "png and pdf": (PNG + b"%PDF-1.4", "trailing_data"),
}  # fmt: skip

_MEASURE = """
import json, pathlib, sys, time
from content_orchestration.core.media.inspection import inspect
from content_orchestration.core.media.limits import Refused

def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024

for name in sys.argv[1:]:
    before, began = peak(), time.process_time()
    try:
        inspect(pathlib.Path(name))
        code = "taken in"
    except Refused as refused:
        code = refused.code
    print(json.dumps([code, 1000 * (time.process_time() - began), peak() - before]))
"""


def test_bombs_are_refused_within_50_ms_and_50_mb(tmp_path: Path) -> None:
    paths = []
    for number, (data, _) in enumerate(BOMBS.values()):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(data)
    # One more run of the first: what is imported at first use is no cost of the file.
    arguments = [sys.executable, "-c", _MEASURE, str(paths[0]), *map(str, paths)]
    done = subprocess.run(arguments, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()][1:]
    assert len(answers) == len(BOMBS)
    found = {name: answer[0] for name, answer in zip(BOMBS, answers, strict=True)}
    assert found == {name: expected for name, (_, expected) in BOMBS.items()}
    slow = {name: answer for name, answer in zip(BOMBS, answers, strict=True) if answer[1] > 50 or answer[2] > 50}
    assert not slow, "milliseconds of CPU, MiB"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (JPEG[:3], "truncated"),
        (JPEG[:2] + b"\xff\xe0\xff\xff", "truncated"),
        (JPEG[:2] + b"\xff\xe0\0\1", "malformed"),
        (JPEG[:2] + b"\xff\xff\xff\xe0\0\1", "malformed"),
        (b"\xff\xd8\xff\xd9", "malformed"),
        (b"\xff\xd8\xff\xfe\0\2xx", "malformed"),
        (b"\xff\xd8" + made.segment(0xDA, b"\1\1\0\0\x3f\0") + b"\xff\xd9", "malformed"),
        (b"\xff\xd8" + made.segment(0xC0, b"\x08\0"), "malformed"),
        (b"\xff\xd8" + made.segment(0xC0, b"\x08\0\0\0\1\3" + b"\0" * 9), "empty_picture"),
        (b"\xff\xd8" + made.segment(0xC0, b"\x0c\0\1\0\1\3" + b"\0" * 9), "unsupported_encoding"),
        (b"\xff\xd8" + made.segment(0xC0, b"\x08\0\1\0\1\2" + b"\0" * 9), "unsupported_encoding"),
        (b"\xff\xd8" + made.segment(0xC3, b"\x08\0\1\0\1\1\0\0\0"), "unsupported_encoding"),
        (made.with_segment(JPEG, 0xC0, b"\x08\0\1\0\1\1\1\x11\0"), "malformed"),
        (JPEG[:2] + b"\xff\xdc\0\4\0\1" + JPEG[2:], "malformed"),
        (PNG[:20], "truncated"),
        (PNG[:8] + made.chunk(b"IDAT") + PNG[8:], "malformed"),
        (made.png(1, 1, depth=3), "malformed"),
        (made.png(1, 1, colour=5), "malformed"),
        (made.png(1, 1, interlace=2), "malformed"),
        (made.png(0, 1), "empty_picture"),
        (made.png(1, 1, [made.chunk(b"IHDR", b"x")]), "bomb_segments"),
        (made.ihdr(1, 1) + made.chunk(b"IEND"), "malformed"),
        (made.png(1, 1)[:-12] + made.chunk(b"IEND", b"x"), "malformed"),
        (made.gif(1)[:10], "truncated"),
        (made.gif(0), "malformed"),
        (made.gif(1)[:-1], "truncated"),
        (made.gif(1)[:-4], "truncated"),
        (made.gif(1)[:30], "truncated"),
        (made.gif(0)[:-1], "truncated"),
        (made.gif(0)[:-1] + b"\x99;", "malformed"),
        (made.gif(0)[:-1] + b"!\xff\x0bNETSCAPE2.0", "truncated"),
        (made.gif(1, 0, 5), "empty_picture"),
        (made.riff(), "malformed"),
        (made.riff(made.vp8x(5, 5)), "malformed"),
        (made.riff(made.anmf()), "malformed"),
        (made.riff(made.vp8x(5, 5), made.anmf(4, 4, x=2)), "malformed"),
        (made.riff(made.vp8x(5, 5), made.vp8l(6, 5)), "malformed"),
        (made.riff(made.vp8l(5, 5), made.vp8x(5, 5)), "malformed"),
        (made.riff((b"VP8L", b"\0" * 10)), "malformed"),
        (made.riff((b"VP8 ", b"\0" * 10)), "malformed"),
        (made.riff((b"VP8L", b"\x2f")), "malformed"),
        (made.riff(made.vp8l(5, 5))[:-4], "truncated"),
        (made.riff(made.vp8l(5, 5))[:16] + b"\xff\0\0\0" + made.riff(made.vp8l(5, 5))[20:], "truncated"),
        (made.avif(5, 5)[:-10], "truncated"),
        (made.avif(0, 5), "empty_picture"),
        (made.box(b"ftyp", b"avif\0\0\0\0") + made.box(b"mdat"), "malformed"),
        (made.box(b"ftyp", b"avif\0\0\0\0") + made.box(b"meta", b"\0\0\0\0"), "malformed"),
        (made.box(b"ftyp", b"avif\0\0\0\0") + b"\0\0\0\4meta", "malformed"),
        (made.avif(5, 5).replace(b"mdat", b"free"), "malformed"),
        (made.avif(5, 5, made.box(b"evil", b"<script>")), "trailing_data"),
    ],
)
def test_broken_headers(data: bytes, expected: str, tmp_path: Path) -> None:
    assert code(tmp_path, data) == expected


# --- two things at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("markup", [b"<script>x", b"<HTML>", b"<?php system()", b"<!DOCTYPE html>", b"<svg onload=x>"])
@pytest.mark.parametrize("where", ["jpeg comment", "jpeg exif", "png text", "png packed", "png utf-8", "gif", "webp"])
def test_markup_in_metadata(markup: bytes, where: str, tmp_path: Path) -> None:
    text = b"holiday " + markup
    data = {
        "jpeg comment": made.with_segment(JPEG, 0xFE, text),
        "jpeg exif": made.with_segment(JPEG, 0xE1, b"Exif\0\0II*\0\x08\0\0\0" + text),
        "png text": made.png(1, 1, [made.chunk(b"tEXt", b"Comment\0" + text)]),
        "png packed": made.png(1, 1, [made.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text))]),
        "png utf-8": made.png(1, 1, [made.chunk(b"iTXt", b"C\0\1\0en\0C\0" + zlib.compress(text))]),
        "gif": made.encoded(PICTURE, "GIF", comment=text),
        "webp": made.encoded(PICTURE, "WEBP", xmp=text),
    }[where]
    assert code(tmp_path, data) == "polyglot_markup"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_an_archive_behind_a_picture(name: str, tmp_path: Path) -> None:
    picture = made.encoded(PICTURE, name)
    assert code(tmp_path, picture + made.zipped()) == "polyglot_archive"
    commented = bytearray(made.zipped())
    commented[-2:] = struct.pack("<H", 1_000)
    assert code(tmp_path, picture + bytes(commented) + b"x" * 1_000) == "polyglot_archive"


def test_the_letters_of_an_archive_are_no_archive(tmp_path: Path) -> None:
    assert look(tmp_path, made.with_segment(JPEG, 0xFE, b"PK\5\6" + b"x" * 40)).format == "jpeg"
    assert look(tmp_path, made.with_segment(JPEG, 0xFE, b"PK\5\6" + b"\0" * 40)).format == "jpeg"


@pytest.mark.parametrize(
    ("trailer", "expected"),
    [
        (b"", None),
        (b"\0" * 100, None),
        (b"\r\n", None),
        (JPEG, None),
        (b"\0" * 10 + JPEG, None),
        (made.mp4(2), None),
        (b"\0\0blocks" + b"\1" * 50 + b"SEFT", None),
        (b"x", "trailing_data"),
        (b"\0" * 70_000, "trailing_data"),
        (JPEG + b"<script>", "trailing_data"),
        (b"MZ" + b"\1" * 50 + b"SEFT", "trailing_data"),
        (b"%PDF-1.4", "trailing_data"),
    ],
)
def test_what_may_follow_a_jpeg(trailer: bytes, expected: str | None, tmp_path: Path) -> None:
    if expected is None:
        assert look(tmp_path, JPEG + trailer).width == 640
    else:
        assert code(tmp_path, JPEG + trailer) == expected


@pytest.mark.parametrize("name", ["PNG", "GIF", "WEBP"])
def test_nothing_may_follow_other_pictures(name: str, tmp_path: Path) -> None:
    picture = made.encoded(PICTURE, name)
    assert code(tmp_path, picture + JPEG) == "trailing_data"
    assert look(tmp_path, picture + b"\0" * 8).format == name.lower()


def test_limits_are_the_callers(tmp_path: Path) -> None:
    assert code(tmp_path, PNG, Limits(max_pixels=640 * 480 - 1)) == "bomb_pixels"
    assert code(tmp_path, PNG, Limits(max_side=639)) == "bomb_pixels"
    assert look(tmp_path, PNG, Limits(max_pixels=640 * 480, max_side=640)).width == 640
    two = made.encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)])
    assert code(tmp_path, two, Limits(max_frames=1)) == "bomb_frames"
    assert look(tmp_path, two, Limits(max_frames=2)).frames == 2


def test_a_large_picture_is_no_bomb(tmp_path: Path) -> None:
    poster = Image.effect_noise((600, 400), 40).resize((6_000, 4_000), Image.Resampling.NEAREST)
    assert look(tmp_path, made.encoded(poster, "PNG", compress_level=1)).width == 6_000
    assert look(tmp_path, made.encoded(poster.convert("1"), "PNG")).width == 6_000
    blank = Image.new("RGB", (6_000, 4_000), "white")
    assert look(tmp_path, made.encoded(blank, "JPEG", progressive=True, optimize=True)).width == 6_000


def test_markers_across_the_edge_of_a_block_are_found(tmp_path: Path) -> None:
    scan = JPEG.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(JPEG[scan + 2 : scan + 4], "big")
    for length in range(262_142, 262_147):
        data = JPEG[:start] + b"\x55" * length + b"\xff\xd9"
        assert look(tmp_path, data).size_bytes == len(data)
        assert code(tmp_path, data[:-1]) == "truncated"
        assert code(tmp_path, data[:-2]) == "truncated"


def test_a_missing_file_is_not_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none")
