"""Images: PNG, JPEG, GIF, WebP, BMP, TIFF. Each check returns the largest dimensions that the file describes. Pure."""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from . import MAX_PARTS, Damaged, Dimensions, File, Mismatch, Steps, Unsafe
from .hidden import MAX_IMAGE_HEAD_BYTES, refuse_behind, refuse_inside

MAX_TIFF_PAGES = 8
"""How many pages of a TIFF are measured; the largest of them counts."""

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # PNG, table 12
_PNG_PIXELS = frozenset((b"IDAT", b"fdAT"))
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_JPEG_MARKER_BETWEEN_SCANS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_BMP_DEPTHS = (1, 2, 4, 8, 16, 24, 32)
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANMF"))


def png(file: File) -> Steps[Dimensions | None]:
    """The signature, the IHDR chunk with values that exist and its own checksum, then chunks up to the image (PNG,
    sections 5 and 11.2). A second IHDR is refused: decoders differ in which of the two they take."""
    yield from file.begins_with(b"\x89PNG\r\n\x1a\n", otherwise="it has no PNG header")
    head = yield from file.need(0, 33)
    if not head.startswith(b"\x00\x00\x00\rIHDR", 8):
        raise Mismatch("it has no PNG header")
    width, height, depth, color, compression, filtering, interlace, checksum = struct.unpack(">IIBBBBBI", head[16:33])
    if depth not in _PNG_DEPTHS.get(color, ()) or compression or filtering or interlace > 1:
        raise Damaged("its PNG header has values that do not exist")
    if zlib.crc32(head[12:29]) != checksum:
        raise Damaged("its PNG header is damaged")
    end = yield from _png_end(file, 33)
    if end:
        yield from refuse_behind(file, end)
    return _dimensions(width, height, most=2**31 - 1)


def _png_end(file: File, at: int) -> Steps[int]:
    """Where the image ends: behind IEND, or where no chunk follows. 0 if it is cut off or damaged, or too large to be
    followed.

    :param at: the first chunk behind IHDR.
    """
    has_pixels = False
    for _ in range(MAX_PARTS):
        header = yield from file.read(at, 8)
        kind = header[4:]
        if len(header) < 8 or not kind.isalpha():
            return at if header and has_pixels else 0
        end = at + 12 + int.from_bytes(header[:4], "big")
        if kind == b"IHDR":
            raise Unsafe("it has two PNG headers")
        if kind in _PNG_PIXELS:
            has_pixels = True
        else:
            yield from refuse_inside(file, at, end)
        if kind == b"IEND":
            return end
        if has_pixels and end > MAX_IMAGE_HEAD_BYTES:
            return 0
        at = end
    raise Unsafe("it has more chunks than are looked at")


def jpeg(file: File) -> Steps[Dimensions | None]:
    """Start of image, then segments up to the first scan, among them one frame header, which has the size (T.81, annex
    B.1). As libjpeg does, it skips bytes between two segments that belong to neither."""
    yield from file.begins_with(b"\xff\xd8\xff", otherwise="it does not begin as a JPEG does")
    at = 2
    frame: Dimensions | None = None
    for _ in range(MAX_PARTS):
        start = yield from _jpeg_marker(file, at, _JPEG_MARKER)
        if start is None:
            break
        _, kind, length = struct.unpack(">BBH", (yield from file.read(start, 4)).ljust(4, b"\x00"))
        if kind == 0x01 or 0xD0 <= kind <= 0xD7:  # these have no length
            at = start + 2
            continue
        if kind < 0xC0 or kind in (0xD8, 0xD9) or (kind == 0xDA and not frame):
            raise Mismatch("it has no JPEG frame header")
        if length < 2:
            raise Mismatch("it has a JPEG segment of no length")
        at = start + 2 + length
        if kind == 0xDA:
            break
        if _is_jpeg_frame(kind):
            if frame:
                raise Unsafe("it has two JPEG frame headers")
            frame = yield from _jpeg_frame(file, start)
    if not frame:
        raise Damaged("it has no JPEG frame header" if at < file.size else "it ends too early")
    yield from refuse_inside(file, 0, at)
    return (yield from _jpeg_behind_first_scan(file, at, frame))


def _jpeg_marker(file: File, at: int, pattern: re.Pattern[bytes]) -> Steps[int | None]:
    """Where the next one is; ``None`` if there is none in the part of the file that is looked at."""
    while at < min(file.size - 1, MAX_IMAGE_HEAD_BYTES):
        start, data = yield from file.piece(at, 2)
        if found := pattern.search(data, at - start):
            return start + found.start()
        at = start + len(data) - 1  # the last byte may be the first of a marker
    return None


def _is_jpeg_frame(kind: int) -> bool:
    return 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)  # tables, and one that is reserved


def _jpeg_frame(file: File, at: int) -> Steps[Dimensions]:
    """The size in the frame header whose marker is there."""
    length, precision, height, width, components = struct.unpack(">HBHHB", (yield from file.need(at + 2, 8)))
    if length != 8 + 3 * components or not 1 <= components <= 4 or not 2 <= precision <= 16:
        raise Damaged("its JPEG frame header has values that do not exist")
    return _dimensions(width, height)


def _jpeg_behind_first_scan(file: File, at: int, frame: Dimensions) -> Steps[Dimensions]:
    """Follow the scans to the end of the image: EOI, or another image. Whatever is damaged or cut off there passes,
    since decoders show as much of it as they can.

    :param at: behind the header of the first scan.
    :returns: the size, with the number of lines that a DNL segment has (T.81, section B.2.5), if that is larger.
    """
    for _ in range(MAX_PARTS):
        start = yield from _jpeg_marker(file, at, _JPEG_MARKER_BETWEEN_SCANS)
        if start is None:
            break
        _, kind, length, lines = struct.unpack(">BBHH", (yield from file.read(start, 6)).ljust(6, b"\x00"))
        if kind in (0xD8, 0xD9):
            yield from refuse_behind(file, start + (2 if kind == 0xD9 else 0))
            break
        at = start + 2
        if 0xC0 <= kind <= 0xEF or kind == 0xFE:
            if _is_jpeg_frame(kind):
                if (yield from _jpeg_other_frame(file, start, frame)):
                    raise Unsafe("it has two JPEG frame headers")
                continue
            if kind == 0xDC:
                frame = frame._replace(height=max(frame.height, lines))
            at += length
    return frame


def _jpeg_other_frame(file: File, at: int, frame: Dimensions) -> Steps[bool]:
    """Whether another frame header is there, and not only damaged data."""
    try:
        return (yield from _jpeg_frame(file, at)) != frame
    except Mismatch:
        return False


def gif(file: File) -> Steps[Dimensions | None]:
    """The screen descriptor, then blocks (GIF89a, sections 18 to 26). The screen and each image in it count."""
    yield from file.begins_with(b"GIF87a", b"GIF89a", otherwise="it has no GIF header")
    head = yield from file.need(0, 13)
    width, height, flags = struct.unpack("<HHB", head[6:11])
    at = 13 + _gif_colors(flags)
    has_image = False
    for _ in range(MAX_PARTS):
        if has_image and not at < min(file.size, MAX_IMAGE_HEAD_BYTES):
            return _dimensions(width, height, most=2**17)
        (introducer,) = yield from file.need(at, 1)
        start = at
        if introducer == 0x2C and (not has_image or at + 10 <= file.size):
            left, top, image_width, image_height, flags = struct.unpack("<4HB", (yield from file.need(at + 1, 9)))
            at += 10 + _gif_colors(flags)
            if not has_image:
                _dimensions(image_width, image_height)
                (code_size,) = yield from file.need(at, 1)
                if not 1 <= code_size <= 11:  # LZW codes have at most 12 bits (appendix F)
                    raise Damaged("its GIF image has values that do not exist")
            width, height = max(width, left + image_width), max(height, top + image_height)
            has_image = True
            at = yield from _gif_blocks(file, at + 1)
        elif introducer == 0x21:
            at = yield from _gif_blocks(file, at + 2)
            if not has_image and at > file.size:
                raise Damaged("it ends too early")
            yield from refuse_inside(file, start, at)
        elif has_image:
            yield from refuse_behind(file, at + (introducer == 0x3B))
            return _dimensions(width, height, most=2**17)
        else:
            raise Mismatch("it has no image where a GIF has one")
    raise Unsafe("it has more parts than are looked at")


def _gif_colors(flags: int) -> int:
    """The bytes of a colour table, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif_blocks(file: File, at: int) -> Steps[int]:
    """Where these data sub-blocks end (section 15), behind the empty one; beyond the file if it is cut off."""
    while at < file.size:
        start, data = yield from file.piece(at)
        at -= start
        while at < len(data) and (length := data[at]):
            at += 1 + length
        if at < len(data):
            return start + at + 1
        at += start
    return at + 1


def webp(file: File) -> Steps[Dimensions | None]:
    """A RIFF container of the form WEBP, all there, and the headers of its frames (RFC 9649, section 2)."""
    yield from file.begins_with(b"RIFF", otherwise="it has no WebP header")
    head = yield from file.need(0, 20)
    if head[8:12] != b"WEBP":
        raise Mismatch("it has no WebP header")
    end = 8 + int.from_bytes(head[4:8], "little")
    if end > file.size:
        raise Damaged("it ends too early")
    size = yield from _webp_size(file, end, extended=head[12:16] == b"VP8X")
    yield from refuse_behind(file, end)
    return size


def _webp_size(file: File, end: int, *, extended: bool) -> Steps[Dimensions]:
    """Of the canvas, which all frames must fit into, or of the only frame.

    :param end: of the container.
    :param extended: whether there is a canvas, and further chunks.
    """
    if not extended:
        return (yield from _webp_frame(file, 12))
    canvas_bytes = yield from file.need(16, 14)
    if not canvas_bytes.startswith(b"\x0a\x00\x00\x00"):
        raise Mismatch("it has no WebP image")
    canvas = Dimensions(_uint24(canvas_bytes, 8) + 1, _uint24(canvas_bytes, 11) + 1)
    at = 30
    for _ in range(MAX_PARTS):
        if not at + 8 <= min(end, MAX_IMAGE_HEAD_BYTES):
            return canvas
        kind, length = struct.unpack("<4sI", (yield from file.need(at, 8)))
        following = at + 8 + length + length % 2
        if kind == b"ANMF":
            frame = yield from file.need(at + 8, 12)
            right, bottom = 2 * _uint24(frame, 0) + _uint24(frame, 6) + 1, 2 * _uint24(frame, 3) + _uint24(frame, 9) + 1
        elif kind in (b"VP8 ", b"VP8L"):
            right, bottom = yield from _webp_frame(file, at)
        else:
            right = bottom = 0
        if right > canvas.width or bottom > canvas.height:
            raise Unsafe("its WebP frame is larger than its canvas")
        if kind not in _WEBP_PIXELS:
            yield from refuse_inside(file, at, following)
        # A frame of an animation has chunks of its own behind sixteen bytes, whose sizes count as well.
        at = at + 24 if kind == b"ANMF" else following
    raise Unsafe("it has more chunks than are looked at")


def _webp_frame(file: File, at: int) -> Steps[Dimensions]:
    """The size that the chunk of a frame has at the beginning of its content."""
    chunk = yield from file.need(at, 13)
    if chunk.startswith(b"VP8 "):  # a key frame (RFC 6386, section 9.1)
        chunk = yield from file.need(at, 18)
        if not chunk[8] & 1 and chunk[11:14] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", chunk[14:18])
            return _dimensions(width & 0x3FFF, height & 0x3FFF)
    if chunk.startswith(b"VP8L") and chunk[8] == 0x2F and chunk[12] >> 5 == 0:  # RFC 9649, section 3.4
        bits = int.from_bytes(chunk[9:13], "little")
        return Dimensions((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    raise Mismatch("it has no WebP image")


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def bmp(file: File) -> Steps[Dimensions | None]:
    """The file header and one of the bitmap headers (Microsoft: "Bitmap Header Types"; IBM: "OS/2 Presentation Manager
    Programming Reference", BITMAPINFOHEADER2, which may end after 16 bytes)."""
    yield from file.begins_with(b"BM", otherwise="it has no BMP header")
    head = yield from file.need(0, 26)
    offset, header = struct.unpack("<II", head[10:18])
    if header not in _BMP_HEADERS or not 14 + header <= offset < file.size:
        raise Mismatch("it has no BMP header")
    compression = length = 0
    if header == 12:
        width, height, planes, depth = struct.unpack("<HHHH", head[18:26])
    else:
        width, height, planes, depth = struct.unpack("<iiHH", (yield from file.need(18, 12)))
    if header > 16:
        compression, length = struct.unpack("<II", (yield from file.need(30, 8)))
    # 4 and 5 are for printers: a JPEG or a PNG in disguise.
    if planes != 1 or depth not in _BMP_DEPTHS or compression not in (0, 1, 2, 3, 6):
        raise Damaged("its BMP header has values that do not exist")
    dimensions = _dimensions(width, abs(height))  # a negative height counts from the top
    yield from refuse_inside(file, 0, offset)
    if compression not in (1, 2):  # with run-length encoding only the header says how long it is
        length = (width * depth + 31) // 32 * 4 * abs(height)
    if length:
        yield from refuse_behind(file, offset + length)
    return dimensions


class _TiffFormat(NamedTuple):
    """How a TIFF writes its numbers, in the characters of :mod:`struct`.

    :param order: of the bytes.
    :param place: a place in the file, or the value of an entry.
    :param entries: the number of entries of a directory.
    """

    order: str
    place: str
    entries: str


_TIFF_FORMATS = {
    b"II*\x00": _TiffFormat("<", "I", "H"),
    b"MM\x00*": _TiffFormat(">", "I", "H"),
    b"II+\x00": _TiffFormat("<", "Q", "Q"),
    b"MM\x00+": _TiffFormat(">", "Q", "Q"),
}
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG (TIFF 6.0, section 2), LONG8 (BigTIFF)
_TIFF_TEXTS = (700, 33723)  # XMP and IPTC (Adobe: "XMP Specification, part 3", section 1.1.4), next to ASCII
_TIFF_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # of others, 1 byte
_TIFF_PIXELS = (273, 279, 324, 325)  # StripOffsets, StripByteCounts, TileOffsets, TileByteCounts
_MAX_TIFF_STRIPS = 65_536
_TIFF_PAGE = (256, 257)  # ImageWidth, ImageLength
_TIFF_TILE = (322, 323)  # TileWidth, TileLength
_MAX_TIFF_ENTRIES = 0xFFFF
_MAX_TIFF_TEXTS = 32
_MAX_TIFF_TEXT_BYTES = 1024 * 1024


def tiff(file: File) -> Steps[Dimensions | None]:
    """The header, then the directories of its first pages (TIFF 6.0, section 2; Aware Systems: "BigTIFF Design").

    The largest page counts, or the largest tile, which a decoder reserves memory for as well.
    """
    yield from file.begins_with(*_TIFF_FORMATS, otherwise="it has no TIFF header")
    head = yield from file.need(0, 8)
    tiff_format = _TIFF_FORMATS[head[:4]]
    place = struct.Struct(tiff_format.order + tiff_format.place)
    if place.size == 8:
        head = yield from file.need(0, 16)
    at: int = place.unpack(head[-place.size :])[0]
    largest: Dimensions | None = None
    end = 0
    for _ in range(MAX_TIFF_PAGES):
        directory = yield from _tiff_directory(file, at, tiff_format)
        if directory is None:
            break
        at = directory.following
        for start, size in directory.texts[:_MAX_TIFF_TEXTS]:
            if size <= _MAX_TIFF_TEXT_BYTES and start < file.size:
                yield from refuse_inside(file, start, start + size)
        sides = directory.sides
        page, tile = (Dimensions(*(max(sides[side], default=0) for side in pair)) for pair in (_TIFF_PAGE, _TIFF_TILE))
        if largest is None:  # of later pages decoders show as many as they can
            largest = _dimensions(*page)
            if any(len(values) > 1 for values in sides.values()):
                raise Unsafe("it has the size of an image twice")
        largest = max(largest, page, tile, key=lambda size: size.width * size.height)
        end = max(end, (yield from _tiff_pixels_end(file, directory, tiff_format)), directory.end)
    if largest is None:
        raise Damaged("it ends too early" if at else "it has no image")
    if at == 0:  # there is no page that was not looked at
        yield from refuse_behind(file, end)
    return largest


class _TiffDirectory(NamedTuple):
    """What is known of a page.

    :param sides: the values of each tag in :data:`_TIFF_PAGE` and :data:`_TIFF_TILE`, 0 for one of an unknown type.
    :param texts: where each text is, and how long.
    :param arrays: type, number and place of the values of each tag in :data:`_TIFF_PIXELS`.
    :param end: where the directory ends, or the last of its values that do not fit into it.
    :param following: where the next directory is; 0 for none.
    """

    sides: dict[int, list[int]]
    texts: list[tuple[int, int]]
    arrays: dict[int, tuple[int, int, int]]
    end: int
    following: int


def _tiff_directory(file: File, at: int, tiff_format: _TiffFormat) -> Steps[_TiffDirectory | None]:
    """The directory there; ``None`` if there is none, or not all of it."""
    order, place = tiff_format.order, struct.Struct(tiff_format.order + tiff_format.place)
    number = struct.Struct(order + tiff_format.entries)
    start = yield from file.read(at, number.size)
    if not at or len(start) < number.size:
        return None
    length = 4 + 2 * place.size
    (entries,) = number.unpack(start)
    end = length * min(entries, _MAX_TIFF_ENTRIES)
    directory = yield from file.read(at + number.size, end + place.size)
    if entries > _MAX_TIFF_ENTRIES or len(directory) < end + place.size:
        return None
    sides: dict[int, list[int]] = {side: [] for side in (*_TIFF_PAGE, *_TIFF_TILE)}
    texts: list[tuple[int, int]] = []
    arrays: dict[int, tuple[int, int, int]] = {}
    all_end = at + number.size + len(directory)
    for entry in range(0, end, length):
        tag, kind, values = struct.unpack_from(order + "HH" + tiff_format.place, directory, entry)
        value_at = entry + 4 + place.size
        value_bytes, value_place = values * _TIFF_SIZES.get(kind, 1), at + number.size + value_at
        if value_bytes > place.size:
            (value_place,) = place.unpack_from(directory, value_at)
            all_end = max(all_end, value_place + value_bytes)
            if kind == 2 or tag in _TIFF_TEXTS:
                texts.append((value_place, value_bytes))
        if tag in _TIFF_PIXELS:
            arrays[tag] = kind, values, value_place
        if tag in sides:
            value = struct.Struct(order + _TIFF_TYPES.get(kind, "Q"))
            known = kind in _TIFF_TYPES and values == 1 and value.size <= place.size
            sides[tag].append(value.unpack_from(directory, value_at)[0] if known else 0)
    return _TiffDirectory(sides, texts, arrays, all_end, place.unpack_from(directory, end)[0])


def _tiff_pixels_end(file: File, directory: _TiffDirectory, tiff_format: _TiffFormat) -> Steps[int]:
    """Where the last strip or tile of a page ends; the end of the file if the directory does not say so."""
    places: list[tuple[int, ...]] = []
    for kind, number, at in (directory.arrays.get(tag, (0, 0, 0)) for tag in _TIFF_PIXELS):
        values = struct.Struct(f"{tiff_format.order}{min(number, _MAX_TIFF_STRIPS)}{_TIFF_TYPES.get(kind, 'B')}")
        known = kind in _TIFF_TYPES and number <= _MAX_TIFF_STRIPS
        data = (yield from file.read(at, values.size)) if known else b""
        places.append(values.unpack(data) if known and len(data) == values.size else ())
    strips, strip_bytes, tiles, tile_bytes = places
    ends = [at + size for at, size in (*zip(strips, strip_bytes, strict=False), *zip(tiles, tile_bytes, strict=False))]
    return max(ends, default=file.size)


def _dimensions(width: int, height: int, *, most: int = 2**32) -> Dimensions:
    if not (0 < width <= most and 0 < height <= most):
        raise Damaged("its image has no size")
    return Dimensions(width, height)
