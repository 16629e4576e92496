"""Which format a file is of by its first bytes, and which are taken in. Its name and claimed type count for nothing."""

import re
from dataclasses import dataclass
from typing import Literal

from content_orchestration.core.media.limits import Refused
from content_orchestration.core.media.window import Window

Kind = Literal["image", "video", "document"]

_HEAD = 4_096
_PART = 64 * 1024


@dataclass(frozen=True)
class Format:
    """One format that is taken in. Sound counts as `document`: the platform has no kind of its own for it."""

    name: str
    kind: Kind
    mime_type: str
    extension: str


_FORMATS = {
    one.name: one
    for one in (
        Format("jpeg", "image", "image/jpeg", "jpg"),
        Format("png", "image", "image/png", "png"),
        Format("webp", "image", "image/webp", "webp"),
        Format("gif", "image", "image/gif", "gif"),
        Format("avif", "image", "image/avif", "avif"),
        Format("mp4", "video", "video/mp4", "mp4"),
        Format("mov", "video", "video/quicktime", "mov"),
        Format("webm", "video", "video/webm", "webm"),
        Format("mkv", "video", "video/x-matroska", "mkv"),
        Format("avi", "video", "video/x-msvideo", "avi"),
        Format("m4a", "document", "audio/mp4", "m4a"),
        Format("wav", "document", "audio/wav", "wav"),
        Format("flac", "document", "audio/flac", "flac"),
        Format("ogg", "document", "audio/ogg", "ogg"),
        Format("mp3", "document", "audio/mpeg", "mp3"),
        Format("pdf", "document", "application/pdf", "pdf"),
        Format("docx", "document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
        Format("xlsx", "document", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
        Format("pptx", "document", "application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
        Format("odt", "document", "application/vnd.oasis.opendocument.text", "odt"),
        Format("ods", "document", "application/vnd.oasis.opendocument.spreadsheet", "ods"),
        Format("odp", "document", "application/vnd.oasis.opendocument.presentation", "odp"),
        Format("epub", "document", "application/epub+zip", "epub"),
        Format("text", "document", "text/plain", "txt"),
    )
}

# Magic numbers of what is not taken in, each with the way out that the refusal names.
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"II*\0", "TIFF", "export it as JPEG, PNG or WebP"),
    (b"MM\0*", "TIFF", "export it as JPEG, PNG or WebP"),
    (b"II+\0", "BigTIFF", "export it as JPEG, PNG or WebP"),
    (b"MM\0+", "BigTIFF", "export it as JPEG, PNG or WebP"),
    (b"BM", "BMP", "export it as PNG"),
    (b"\0\0\1\0", "ICO", "export it as PNG"),
    (b"8BPS", "Photoshop", "export it as PNG or JPEG"),
    (b"\xff\x0a", "JPEG XL", "export it as JPEG, PNG or WebP"),
    (b"\0\0\0\x0cJXL ", "JPEG XL", "export it as JPEG, PNG or WebP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", "export it as JPEG, PNG or WebP"),
    (b"PK\5\6", "empty ZIP", "upload the files one by one"),
    (b"\x1f\x8b", "gzip", "upload the file inside it"),
    (b"BZh", "bzip2", "upload the file inside it"),
    (b"\xfd7zXZ\0", "xz", "upload the file inside it"),
    (b"(\xb5/\xfd", "zstd", "upload the file inside it"),
    (b"Rar!", "RAR", "upload the files one by one"),
    (b"7z\xbc\xaf", "7-Zip", "upload the files one by one"),
    (b"MZ", "Windows program", "programs are not content"),
    (b"\x7fELF", "program", "programs are not content"),
    (b"\xca\xfe\xba\xbe", "program", "programs are not content"),
    (b"\xcf\xfa\xed\xfe", "program", "programs are not content"),
    (b"#!", "script", "programs are not content"),
    (b"\xd0\xcf\x11\xe0", "old Office", "save it as DOCX, XLSX, PPTX or PDF"),
    (b"{\\rtf", "RTF", "save it as DOCX or PDF"),
)
_BRANDS = {
    b"avif": "avif", b"avis": "avif", b"qt  ": "mov", b"M4A ": "m4a", b"M4B ": "m4a",
    **dict.fromkeys((b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"dash", b"3gp4",
                     b"3gp5", b"MSNV"), "mp4"),
}  # fmt: skip
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_OFFICE = ((b"word/document.xml", "docx"), (b"xl/workbook.xml", "xlsx"), (b"ppt/presentation.xml", "pptx"))
_SVG = re.compile(rb"<(?:[a-z][\w.-]*:)?svg[\s>/]|<!doctype svg", re.IGNORECASE)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(window: Window) -> Format:
    """The format of a file. Raises `Refused` for one that is empty, unknown, or not taken in."""
    head = window.at(0, _HEAD)
    if not head:
        raise Refused("empty", "the file has no bytes: upload it again")
    name = _binary(head) or _container(head, window)
    if name:
        return _FORMATS[name]
    for magic, what, way_out in _REFUSED:
        if head.startswith(magic):
            raise Refused("format_not_allowed", f"{what} files are not taken in: {way_out}")
    return _text(head)


def _binary(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12])
    for magic, name in ((b"%PDF-", "pdf"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3")):
        if head.startswith(magic):
            return name
    # Layer III of MPEG 1, 2 or 2.5, neither a free nor a reserved bit rate or sampling rate.
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08:
        return "mp3" if head[2] >> 4 not in (0, 15) and head[2] & 0x0C != 0x0C else None
    return None


def _container(head: bytes, window: Window) -> str | None:
    if head[4:8] == b"ftyp":
        return _iso(head)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head[:64] else "mkv"
    if head.startswith(b"PK\3\4"):
        return _office(head, window)
    return None


def _iso(head: bytes) -> str:
    end = min(int.from_bytes(head[:4], "big"), 256)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    for brand in brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
        if brand[:3] == b"3gp":
            return "mp4"
    if any(brand in _HEIF_BRANDS for brand in brands):
        raise Refused(
            "format_not_allowed",
            "HEIC files are not taken in, since HEVC cannot be decoded here: export it as JPEG (an iPhone does so "
            "under Settings, Camera, Formats, Most Compatible)",
        )
    raise Refused("format_not_allowed", f"files of the brand {brands[0]!r} are not taken in: export it as MP4")


def _office(head: bytes, window: Window) -> str:
    """Office formats are ZIP files; which one is told by names inside it. Nothing is unpacked."""
    if head[30:38] == b"mimetype":
        stored = head[38:128]
        for name in ("odt", "ods", "odp", "epub"):
            if stored.startswith(_FORMATS[name].mime_type.encode()):
                return name
    names = window.at(0, _PART) + window.tail(_PART)
    for inner, name in _OFFICE:
        if inner in names and b"[Content_Types].xml" in names:
            return name
    raise Refused("format_not_allowed", "ZIP files are not taken in: upload the files one by one")


def _text(head: bytes) -> Format:
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    start = (head[2:].replace(b"\0", b"") if wide else head.removeprefix(b"\xef\xbb\xbf")).lstrip()
    if start.startswith(b"<"):
        if _SVG.search(start):
            raise Refused("svg", "SVG files are not taken in, since they can hold scripts: export it as PNG or WebP")
        raise Refused("markup", "HTML and XML files are not taken in, since browsers run them: upload a PDF")
    # A character may be cut in two where the piece ends.
    whole = head[:-4] if len(head) == _HEAD else head
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError:
        whole = b"\0"
    if _NOT_TEXT.search(whole):
        raise Refused(
            "format_unknown", "the first bytes are of no format that is taken in: upload a picture, a video, a PDF"
        )
    return _FORMATS["text"]
