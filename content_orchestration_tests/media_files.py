"""Files for the media tests, made in memory: pictures with chosen metadata, and hostile ones. No checks here."""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (250, 250, 250)
# The four corners as they are to be seen: top left, top right, bottom left, bottom right.
CORNERS = (RED, GREEN, BLUE, WHITE)


def corners(width: int = 640, height: int = 480, mode: str = "RGB") -> Image.Image:
    """A picture in four quarters, each of another colour."""
    image = Image.new("RGB", (width, height))
    for index, colour in enumerate(CORNERS):
        box = (width // 2 * (index % 2), height // 2 * (index // 2))
        image.paste(colour, (*box, box[0] + (width + 1) // 2, box[1] + (height + 1) // 2))
    return image.convert(mode)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    """The bytes of a picture."""
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def exif(orientation: int = 1, taken: str = "2024:05:06 07:08:09", zone: str = "+02:00", gps: bool = True) -> bytes:
    """An EXIF block with GPS, serial number, owner and an orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010F], block[0x0110] = "CameraMakerName", "CameraModelName"
    block[0x013B], block[0x8298] = "Owner Personname", "Copyright Personname"
    block[0x010E] = "Secret description"
    inner = block.get_ifd(0x8769)
    inner[0x9003], inner[0x9011] = taken, zone
    inner[0xA431], inner[0xA430] = "SERIAL-4711", "Owner Personname"
    if gps:
        place = block.get_ifd(0x8825)
        place[1], place[2] = "N", (48.0, 51.0, 29.5)
        place[3], place[4] = "E", (2.0, 17.0, 40.2)
        place[29] = "2024:05:06"
    return block.tobytes()


XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description exif:GPSLatitude="48,51.5N" '
    b'xmlns:exif="http://ns.adobe.com/exif/1.0/"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def srgb_profile() -> bytes:
    """A small colour profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# --- PNG -------------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """A PNG's signature and header."""
    body = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body)


def png(width: int, height: int, extra: Iterable[bytes] = (), idat: bytes | None = None, **header: int) -> bytes:
    """A PNG of zeros that really inflates to its size, with `extra` chunks before its pixels."""
    if idat is None:
        packer = zlib.compressobj(9)
        rows = [packer.compress(b"\0" * (1 + 3 * width)) for _ in range(height)]
        idat = b"".join([*rows, packer.flush()])
    return ihdr(width, height, **header) + b"".join(extra) + chunk(b"IDAT", idat) + chunk(b"IEND")


def inflating(size: int) -> bytes:
    """A few bytes that inflate to `size` zeros."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(b"\0" * size), packer.flush()])


def apng(frames: int, declared: int | None = None) -> bytes:
    """An animated PNG of 1 x 1 frames."""
    control = chunk(b"acTL", struct.pack(">II", frames if declared is None else declared, 0))
    pixel = zlib.compress(b"\0\0\0\0")
    parts = [ihdr(1, 1), control]
    for number in range(frames):
        parts.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", max(0, 2 * number - 1), 1, 1, 0, 0, 1, 10, 0, 0)))
        parts.append(chunk(b"IDAT", pixel) if number == 0 else chunk(b"fdAT", struct.pack(">I", 2 * number) + pixel))
    return b"".join([*parts, chunk(b"IEND")])


# --- JPEG ------------------------------------------------------------------------------------------------------------


def segment(marker: int, body: bytes) -> bytes:
    """One JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right behind its start."""
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = next(i for m in (b"\xff\xc0", b"\xff\xc2") if (i := jpeg.find(m)) >= 0)
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


# --- GIF, WebP, AVIF, ZIP --------------------------------------------------------------------------------------------

_GIF_FRAME = b"\x21\xf9\x04\0\x0a\0\0\0" + b",\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0"


def gif(frames: int, width: int = 1, height: int = 1) -> bytes:
    """A GIF of 1 x 1 frames on a canvas."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + _GIF_FRAME * frames + b";"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for k, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def three(value: int) -> bytes:
    """A 24-bit number as WebP writes it."""
    return struct.pack("<I", value)[:3]


def vp8x(width: int, height: int) -> tuple[bytes, bytes]:
    """WebP's extended header."""
    return b"VP8X", b"\x02\0\0\0" + three(width - 1) + three(height - 1)


def anmf(width: int = 1, height: int = 1, x: int = 0) -> tuple[bytes, bytes]:
    """A WebP animation frame without its picture."""
    return b"ANMF", three(x // 2) + three(0) + three(width - 1) + three(height - 1) + three(100) + b"\0"


def vp8l(width: int, height: int) -> tuple[bytes, bytes]:
    """The header of a lossless WebP picture."""
    return b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 8


def box(kind: bytes, body: bytes = b"") -> bytes:
    """One box of the ISO base media file format."""
    return struct.pack(">I", 8 + len(body)) + kind + body


def avif(width: int, height: int, extra: bytes = b"") -> bytes:
    """The boxes of an AVIF whose picture is not one."""
    ispe = box(b"ispe", struct.pack(">III", 0, width, height))
    meta = box(b"meta", b"\0\0\0\0" + box(b"iprp", box(b"ipco", ispe)))
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + meta + extra + box(b"mdat", b"\0" * 64)


def mp4(seconds: float, *, wide: bool = False, brand: bytes = b"isom") -> bytes:
    """An MP4 with nothing but its movie header."""
    ticks = round(seconds * 1000)
    if wide:
        header = b"\1\0\0\0" + struct.pack(">QQIQ", 0, 0, 1000, ticks) + b"\0" * 80
    else:
        header = b"\0\0\0\0" + struct.pack(">IIII", 0, 0, 1000, ticks) + b"\0" * 80
    return box(b"ftyp", brand + b"\0\0\2\0" + brand) + box(b"mdat", b"\0" * 100) + box(b"moov", box(b"mvhd", header))


def zipped(name: str = "a.txt", body: bytes = b"x", **more: bytes) -> bytes:
    """A ZIP archive."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, body)
        for other, content in more.items():
            archive.writestr(other, content)
    return out.getvalue()
