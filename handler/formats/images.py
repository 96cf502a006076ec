"""Images: PNG, JPEG, GIF, WebP, BMP, TIFF. Each check ends with the dimensions that the header tells. Pure."""

from __future__ import annotations

import struct
import zlib

from . import READ_AHEAD_BYTES, Dimensions, File, Mismatch, Steps

MAX_TIFF_PAGES = 8
"""How many pages of a TIFF are measured; the largest of them counts."""

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # PNG, table 12
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_BMP_DEPTHS = (1, 2, 4, 8, 16, 24, 32)
_TIFF_TYPES = {3: "H", 4: "I"}  # SHORT and LONG (TIFF 6.0, section 2)


def png(file: File) -> Steps[Dimensions | None]:
    """The signature and the IHDR chunk with values that exist and its own checksum (PNG, sections 5.2 and 11.2.1)."""
    head = yield from file.need(0, 33)
    if not head.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"):
        raise Mismatch("it has no PNG header")
    width, height, depth, color, compression, filtering, interlace, checksum = struct.unpack(">IIBBBBBI", head[16:33])
    if depth not in _PNG_DEPTHS.get(color, ()) or compression or filtering or interlace > 1:
        raise Mismatch("its PNG header has values that do not exist")
    if zlib.crc32(head[12:29]) != checksum:
        raise Mismatch("its PNG header is damaged")
    return _dimensions(width, height, most=2**31 - 1)


def jpeg(file: File) -> Steps[Dimensions | None]:
    """Start of image, then segments up to the frame header, which is the first to tell the size (T.81, annex B.1)."""
    head = yield from file.need(0, 4)
    if not head.startswith(b"\xff\xd8\xff"):
        raise Mismatch("it does not begin as a JPEG does")
    at = 2
    while True:
        mark, marker = yield from file.need(at, 2)
        if mark != 0xFF:
            raise Mismatch("its JPEG segments do not follow on each other")
        if marker == 0xFF:  # fill (B.1.1.2)
            fill = yield from file.read(at, READ_AHEAD_BYTES)
            at += len(fill) - len(fill.lstrip(b"\xff")) - 1
            continue
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA:  # nothing that may stand before the frame header
            raise Mismatch("it has no JPEG frame header")
        length = int.from_bytes((yield from file.need(at + 2, 2)), "big")
        if length < 2:
            raise Mismatch("it has a JPEG segment of no length")
        if marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # but tables and what is reserved
            break
        at += 2 + length
    precision, height, width, components = struct.unpack(">BHHB", (yield from file.need(at + 4, 6)))
    if length != 8 + 3 * components or not 1 <= components <= 4 or not 2 <= precision <= 16:
        raise Mismatch("its JPEG frame header has values that do not exist")
    return _dimensions(width, height)


def gif(file: File) -> Steps[Dimensions | None]:
    """The screen descriptor, then blocks up to the first image (GIF89a, sections 18 to 26). The larger of the screen
    and the first image counts; later ones are not looked at."""
    head = yield from file.need(0, 13)
    if not head.startswith((b"GIF87a", b"GIF89a")):
        raise Mismatch("it has no GIF header")
    width, height, flags = struct.unpack("<HHB", head[6:11])
    at = 13 + _gif_colors(flags)
    while True:
        (introducer,) = yield from file.need(at, 1)
        if introducer == 0x2C:
            break
        if introducer != 0x21:
            raise Mismatch("it has no image where a GIF has one")
        at += 2
        while length := (yield from file.need(at, 1))[0]:
            at += 1 + length
        at += 1
    left, top, image_width, image_height, flags = struct.unpack("<HHHHB", (yield from file.need(at + 1, 9)))
    (code_size,) = yield from file.need(at + 10 + _gif_colors(flags), 1)
    if not 1 <= code_size <= 11:  # LZW codes have at most 12 bits (appendix F)
        raise Mismatch("its GIF image has values that do not exist")
    _dimensions(image_width, image_height)
    return _dimensions(max(width, left + image_width), max(height, top + image_height), most=2**17)


def _gif_colors(flags: int) -> int:
    """The bytes of a colour table, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def webp(file: File) -> Steps[Dimensions | None]:
    """A RIFF container of the form WEBP, all there, and the header of its first chunk (RFC 9649, section 2)."""
    head = yield from file.need(0, 30)
    if not head.startswith(b"RIFF") or head[8:12] != b"WEBP":
        raise Mismatch("it has no WebP header")
    size, chunk = int.from_bytes(head[4:8], "little"), head[12:16]
    if size + 8 > file.size:
        raise Mismatch("it ends too early")
    if chunk == b"VP8 " and not head[20] & 1 and head[23:26] == b"\x9d\x01\x2a":  # a key frame (RFC 6386, section 9.1)
        width, height = struct.unpack("<HH", head[26:30])
        return _dimensions(width & 0x3FFF, height & 0x3FFF)
    if chunk == b"VP8L" and head[20] == 0x2F and head[24] >> 5 == 0:  # RFC 9649, section 3.4
        bits = int.from_bytes(head[21:25], "little")
        return _dimensions((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8X" and head[16:20] == b"\x0a\x00\x00\x00":
        width, height = int.from_bytes(head[24:27], "little"), int.from_bytes(head[27:30], "little")
        return _dimensions(width + 1, height + 1)
    raise Mismatch("it has no WebP image")


def bmp(file: File) -> Steps[Dimensions | None]:
    """The file header and one of the bitmap headers (Microsoft: "Bitmap Header Types")."""
    head = yield from file.need(0, 26)
    offset, header = struct.unpack("<II", head[10:18])
    if not head.startswith(b"BM") or header not in _BMP_HEADERS or not 14 + header <= offset < file.size:
        raise Mismatch("it has no BMP header")
    if header == 12:
        width, height, planes, depth = struct.unpack("<HHHH", head[18:26])
        compression = 0
    else:
        head = yield from file.need(18, 16)
        width, height, planes, depth, compression = struct.unpack("<iiHHI", head)
    # 4 and 5 are for printers: a JPEG or a PNG in disguise.
    if planes != 1 or depth not in _BMP_DEPTHS or compression not in (0, 1, 2, 3, 6):
        raise Mismatch("its BMP header has values that do not exist")
    return _dimensions(width, abs(height))  # a negative height counts from the top


def tiff(file: File) -> Steps[Dimensions | None]:
    """The header, then the directories of its first pages (TIFF 6.0, section 2). Not BigTIFF, another format."""
    head = yield from file.need(0, 8)
    if head[:4] not in (b"II*\x00", b"MM\x00*"):
        raise Mismatch("it has no TIFF header")
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack(order + "I", head[4:8])
    pages: list[Dimensions] = []
    while at and len(pages) < MAX_TIFF_PAGES:
        (entries,) = struct.unpack(order + "H", (yield from file.need(at, 2)))
        directory = yield from file.need(at + 2, 12 * entries + 4)
        sides = {}
        for entry in range(0, 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", directory, entry)
            if tag in (256, 257) and kind in _TIFF_TYPES and count == 1:
                (sides[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], directory, entry + 8)
        pages.append(_dimensions(sides.get(256, 0), sides.get(257, 0), most=2**32))
        (at,) = struct.unpack_from(order + "I", directory, 12 * entries)
    if not pages:
        raise Mismatch("it has no image")
    return max(pages, key=lambda page: page.width * page.height)


def _dimensions(width: int, height: int, *, most: int = 2**32) -> Dimensions:
    if not (0 < width <= most and 0 < height <= most):
        raise Mismatch("its image has no size")
    return Dimensions(width, height)
