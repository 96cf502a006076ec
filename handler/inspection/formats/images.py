"""Images: PNG, JPEG, GIF, WebP, BMP, TIFF. Each check returns the largest dimensions that the file describes."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from ...units import MIB
from . import MAX_PARTS, Damaged, Dimensions, File, Mismatch, Steps, Unsafe
from .hidden import MAX_IMAGE_HEAD_BYTES, refuse_behind, refuse_inside

MAX_TIFF_PAGES = 8
"""The number of pages of a TIFF that are measured. The largest of these pages counts."""

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # PNG, table 12
_PNG_PIXELS = frozenset((b"IDAT", b"fdAT"))
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_JPEG_MARKER_BETWEEN_SCANS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC  # JPEG markers (T.81, table B.1): start and end of image, scan, lines
_JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # JPEG markers TEM and RST
_JPEG_NO_FRAME = "it has no JPEG frame header"
_GIF_IMAGE, _GIF_EXTENSION, _GIF_TRAILER = 0x2C, 0x21, 0x3B
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_BMP_DEPTHS = (1, 2, 4, 8, 16, 24, 32)
_BMP_COMPRESSIONS = (0, 1, 2, 3, 6)
"""BI_RGB, BI_RLE8, BI_RLE4, BI_BITFIELDS and BI_ALPHABITFIELDS. 4 and 5 are for printers: a JPEG or PNG in disguise."""
_BMP_RUN_LENGTH = (1, 2)
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANMF"))
_MAX_PNG_SIDE = 2**31 - 1
_MAX_GIF_SIDE = 2**17


def png(file: File) -> Steps[Dimensions | None]:
    """Check the signature, the IHDR chunk with its checksum, and the chunks up to the image (PNG, sections 5 and 11.2).

    A second IHDR is refused, because decoders differ in which of the two they take.
    """
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
    return _dimensions(width, height, maximum=_MAX_PNG_SIDE)


def _png_end(file: File, at: int) -> Steps[int]:
    """Return the end of the image: behind IEND, or where no chunk follows.

    :param at: the position of the first chunk behind IHDR.
    :returns: 0 if the image is cut off or damaged, or too large to be followed.
    :raises Mismatch: a chunk has a page or a script inside, or is a second IHDR, or there are too many chunks.
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
    raise Unsafe("it has more chunks than are checked")


def jpeg(file: File) -> Steps[Dimensions | None]:
    """Check the segments up to the first scan, among them one frame header with the size (T.81, annex B.1)."""
    yield from file.begins_with(b"\xff\xd8\xff", otherwise="it does not begin like a JPEG")
    frame, end = yield from _jpeg_header(file)
    yield from refuse_inside(file, 0, end)
    return (yield from _jpeg_behind_first_scan(file, end, frame))


def _jpeg_header(file: File) -> Steps[tuple[Dimensions, int]]:
    """Walk over the segments between the start of the image and the first scan.

    :returns: the size in the frame header, and the position behind the last segment.
    :raises Mismatch: there is no frame header before the first scan, or there are two.
    """
    at = 2
    frame: Dimensions | None = None
    for _ in range(MAX_PARTS):
        segment = yield from _jpeg_segment(file, at)
        if segment is None:
            break
        if _is_jpeg_frame(segment.kind):
            if frame:
                raise Unsafe("it has two JPEG frame headers")
            frame = yield from _jpeg_frame(file, segment.start)
        at = segment.end
        if segment.kind == _SOS:
            if not frame:
                raise Mismatch(_JPEG_NO_FRAME)
            break
    if not frame:
        raise Damaged(_JPEG_NO_FRAME if at < file.size else "it ends too early")
    return frame, at


class _JpegSegment(NamedTuple):
    """A segment of a JPEG, or a marker without a segment.

    :param kind: the second byte of the marker.
    :param start: the position of the marker.
    :param end: the position behind the segment.
    """

    kind: int
    start: int
    end: int


def _jpeg_segment(file: File, at: int) -> Steps[_JpegSegment | None]:
    """Return the next segment before the first scan; ``None`` if there is none.

    Bytes between two segments that belong to neither are skipped, as libjpeg does.

    :param at: the position behind the segment before.
    :raises Mismatch: the segment has no length, or no JPEG has such a segment there.
    """
    start = yield from _jpeg_marker(file, at, _JPEG_MARKER)
    if start is None:
        return None
    _, kind, length = struct.unpack(">BBH", (yield from file.read(start, 4)).ljust(4, b"\x00"))
    if kind in _JPEG_WITHOUT_LENGTH:
        return _JpegSegment(kind, start, start + 2)
    if kind < 0xC0 or kind in (_SOI, _EOI):
        raise Mismatch(_JPEG_NO_FRAME)
    if length < 2:
        raise Mismatch("it has a JPEG segment of no length")
    return _JpegSegment(kind, start, start + 2 + length)


def _jpeg_marker(file: File, at: int, pattern: re.Pattern[bytes]) -> Steps[int | None]:
    """Return the position of the next marker; ``None`` if the part of the file that is searched has none."""
    while at < min(file.size - 1, MAX_IMAGE_HEAD_BYTES):
        start, data = yield from file.piece(at, 2)
        if marker := pattern.search(data, at - start):
            return start + marker.start()
        at = start + len(data) - 1  # the last byte may be the first of a marker
    return None


def _is_jpeg_frame(kind: int) -> bool:
    return 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)  # tables, and a reserved marker


def _jpeg_frame(file: File, at: int) -> Steps[Dimensions]:
    """Return the size in the frame header whose marker is at ``at``.

    :raises Mismatch: the frame header has values that do not exist.
    """
    length, precision, height, width, components = struct.unpack(">HBHHB", (yield from file.need(at + 2, 8)))
    if length != 8 + 3 * components or not 1 <= components <= 4 or not 2 <= precision <= 16:
        raise Damaged("its JPEG frame header has values that do not exist")
    return _dimensions(width, height)


def _jpeg_behind_first_scan(file: File, at: int, frame: Dimensions) -> Steps[Dimensions]:
    """Follow the scans to the end of the image: EOI, or the start of another image.

    Damaged or missing data there passes, because decoders show as much of the image as they can.

    :param at: the position behind the header of the first scan.
    :returns: the size, with the number of lines in a DNL segment (T.81, section B.2.5) if this number is larger.
    :raises Mismatch: there is another frame header, or something dangerous behind the end.
    """
    for _ in range(MAX_PARTS):
        start = yield from _jpeg_marker(file, at, _JPEG_MARKER_BETWEEN_SCANS)
        if start is None:
            break
        _, kind, length, lines = struct.unpack(">BBHH", (yield from file.read(start, 6)).ljust(6, b"\x00"))
        if kind in (_SOI, _EOI):
            yield from refuse_behind(file, start + (2 if kind == _EOI else 0))
            break
        at = start + 2
        if _is_jpeg_frame(kind):
            yield from _refuse_other_jpeg_frame(file, start, frame)
        elif 0xC0 <= kind <= 0xEF or kind == 0xFE:
            if kind == _DNL:
                frame = frame._replace(height=max(frame.height, lines))
            at += length
    return frame


def _refuse_other_jpeg_frame(file: File, at: int, frame: Dimensions) -> Steps[None]:
    """Refuse a frame header of another size. Damaged data that only looks like a frame header passes."""
    try:
        other = yield from _jpeg_frame(file, at)
    except Mismatch:
        return
    if other != frame:
        raise Unsafe("it has two JPEG frame headers")


def gif(file: File) -> Steps[Dimensions | None]:
    """Check the screen descriptor, then the blocks (GIF89a, sections 18 to 26). The screen and each image count."""
    yield from file.begins_with(b"GIF87a", b"GIF89a", otherwise="it has no GIF header")
    head = yield from file.need(0, 13)
    width, height, flags = struct.unpack("<HHB", head[6:11])
    first = yield from _gif_first_image(file, 13 + _gif_colors(flags))
    right, bottom, at = yield from _gif_image(file, first)
    width, height = max(width, right), max(height, bottom)
    for _ in range(MAX_PARTS):
        if at >= min(file.size, MAX_IMAGE_HEAD_BYTES):
            return _dimensions(width, height, maximum=_MAX_GIF_SIDE)
        (introducer,) = yield from file.need(at, 1)
        if introducer == _GIF_IMAGE and at + 10 <= file.size:
            right, bottom, at = yield from _gif_image(file, at)
            width, height = max(width, right), max(height, bottom)
        elif introducer == _GIF_EXTENSION:
            at, start = (yield from _gif_blocks(file, at + 2)), at
            yield from refuse_inside(file, start, at)
        else:
            yield from refuse_behind(file, at + (introducer == _GIF_TRAILER))
            return _dimensions(width, height, maximum=_MAX_GIF_SIDE)
    raise Unsafe("it has more parts than are checked")


def _gif_first_image(file: File, at: int) -> Steps[int]:
    """Return the position of the first image, behind the extensions before it.

    :raises Mismatch: there is no image, or the image has no size or values that do not exist.
    """
    for _ in range(MAX_PARTS):
        (introducer,) = yield from file.need(at, 1)
        if introducer == _GIF_IMAGE:
            image_width, image_height, flags = struct.unpack("<4xHHB", (yield from file.need(at + 1, 9)))
            _dimensions(image_width, image_height)
            (code_size,) = yield from file.need(at + 10 + _gif_colors(flags), 1)
            if not 1 <= code_size <= 11:  # LZW codes have at most 12 bits (appendix F)
                raise Damaged("its GIF image has values that do not exist")
            return at
        if introducer != _GIF_EXTENSION:
            raise Mismatch("it has no image where a GIF has one")
        at, start = (yield from _gif_blocks(file, at + 2)), at
        if at > file.size:
            raise Damaged("it ends too early")
        yield from refuse_inside(file, start, at)
    raise Unsafe("it has more parts than are checked")


def _gif_image(file: File, at: int) -> Steps[tuple[int, int, int]]:
    """Return the right and the bottom edge of the image at ``at``, and the position behind the image."""
    left, top, width, height, flags = struct.unpack("<4HB", (yield from file.need(at + 1, 9)))
    end = yield from _gif_blocks(file, at + 10 + _gif_colors(flags) + 1)
    return left + width, top + height, end


def _gif_colors(flags: int) -> int:
    """Return the number of bytes of a colour table, 0 if there is none."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif_blocks(file: File, at: int) -> Steps[int]:
    """Return the position behind the empty data sub-block that ends a row of sub-blocks (section 15).

    The position is beyond the file if the sub-blocks are cut off.
    """
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
    """Check a whole RIFF container of the form WEBP, and the headers of its frames (RFC 9649, section 2)."""
    yield from file.begins_with(b"RIFF", otherwise="it has no WebP header")
    head = yield from file.need(0, 20)
    if head[8:12] != b"WEBP":
        raise Mismatch("it has no WebP header")
    end = 8 + int.from_bytes(head[4:8], "little")
    if end > file.size:
        raise Damaged("it ends too early")
    if head[12:16] == b"VP8X":
        size = yield from _webp_canvas(file, end)
    else:
        size = yield from _webp_frame(file, 12)
    yield from refuse_behind(file, end)
    return size


def _webp_canvas(file: File, end: int) -> Steps[Dimensions]:
    """Return the size of the canvas, into which all frames must fit.

    :param end: the end of the container.
    :raises Mismatch: a frame is larger than the canvas, or a chunk has a page or a script inside.
    """
    content = yield from file.need(16, 14)
    if not content.startswith(b"\x0a\x00\x00\x00"):
        raise Mismatch("it has no WebP image")
    canvas = Dimensions(_uint24(content, 8) + 1, _uint24(content, 11) + 1)
    at = 30
    for _ in range(MAX_PARTS):
        if not at + 8 <= min(end, MAX_IMAGE_HEAD_BYTES):
            return canvas
        kind, length = struct.unpack("<4sI", (yield from file.need(at, 8)))
        right, bottom = yield from _webp_edges(file, at, kind)
        if right > canvas.width or bottom > canvas.height:
            raise Unsafe("its WebP frame is larger than its canvas")
        following = at + 8 + length + length % 2
        if kind not in _WEBP_PIXELS:
            yield from refuse_inside(file, at, following)
        # A frame of an animation has chunks of its own behind sixteen bytes. The sizes in these chunks count as well.
        at = at + 24 if kind == b"ANMF" else following
    raise Unsafe("it has more chunks than are checked")


def _webp_edges(file: File, at: int, kind: bytes) -> Steps[tuple[int, int]]:
    """Return the right and the bottom edge of the frame in a chunk, both 0 if the chunk has no frame.

    :param at: the position of the chunk.
    :param kind: the kind of the chunk.
    """
    if kind == b"ANMF":
        frame = yield from file.need(at + 8, 12)
        return 2 * _uint24(frame, 0) + _uint24(frame, 6) + 1, 2 * _uint24(frame, 3) + _uint24(frame, 9) + 1
    if kind in (b"VP8 ", b"VP8L"):
        return (yield from _webp_frame(file, at))
    return 0, 0


def _webp_frame(file: File, at: int) -> Steps[Dimensions]:
    """Return the size at the beginning of a frame's chunk.

    :param at: the position of the chunk.
    :raises Mismatch: the chunk has no frame.
    """
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
    """Check the file header and the bitmap header.

    Sources: Microsoft, "Bitmap Header Types"; IBM, "OS/2 Presentation Manager Programming Reference",
    BITMAPINFOHEADER2, which may end after 16 bytes.
    """
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
    if planes != 1 or depth not in _BMP_DEPTHS or compression not in _BMP_COMPRESSIONS:
        raise Damaged("its BMP header has values that do not exist")
    dimensions = _dimensions(width, abs(height))  # a negative height counts from the top
    yield from refuse_inside(file, 0, offset)
    if compression not in _BMP_RUN_LENGTH:  # with run-length encoding only the header gives the length
        length = (width * depth + 31) // 32 * 4 * abs(height)
    if length:
        yield from refuse_behind(file, offset + length)
    return dimensions


class _TiffFormat(NamedTuple):
    """The way in which a TIFF writes its numbers, in the characters of :mod:`struct`.

    :param order: the order of the bytes.
    :param offset: a position in the file, or the value of an entry.
    :param entries: the number of entries of a directory.
    """

    order: str
    offset: str
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
_MAX_TIFF_TEXT_BYTES = MIB


def tiff(file: File) -> Steps[Dimensions | None]:
    """Check the header and the directories of the first pages (TIFF 6.0, section 2; Aware Systems, "BigTIFF Design").

    The largest page counts, or the largest tile, because a decoder also reserves memory for a tile.
    """
    yield from file.begins_with(*_TIFF_FORMATS, otherwise="it has no TIFF header")
    head = yield from file.need(0, 8)
    tiff_format = _TIFF_FORMATS[head[:4]]
    offset = struct.Struct(tiff_format.order + tiff_format.offset)
    if offset.size == 8:
        head = yield from file.need(0, 16)
    at: int = offset.unpack(head[-offset.size :])[0]
    largest: Dimensions | None = None
    end = 0
    for _ in range(MAX_TIFF_PAGES):
        directory = yield from _tiff_directory(file, at, tiff_format)
        if directory is None:
            break
        at = directory.following
        yield from _refuse_in_tiff_texts(file, directory)
        page, tile = (_tiff_size(directory.sides, pair) for pair in (_TIFF_PAGE, _TIFF_TILE))
        if largest is None:  # decoders show as many of the later pages as they can
            largest = _dimensions(*page)
            if any(len(values) > 1 for values in directory.sides.values()):
                raise Unsafe("it has the size of an image twice")
        largest = max(largest, page, tile, key=lambda size: size.width * size.height)
        end = max(end, (yield from _tiff_pixels_end(file, directory, tiff_format)), directory.end)
    if largest is None:
        raise Damaged("it ends too early" if at else "it has no image")
    if at == 0:  # no page is left that was not checked
        yield from refuse_behind(file, end)
    return largest


class _TiffDirectory(NamedTuple):
    """The directory of a page.

    :param sides: the values of each tag in :data:`_TIFF_PAGE` and :data:`_TIFF_TILE`, 0 for a value of unknown type.
    :param texts: the position and the length of each text.
    :param arrays: type, number and position of the values of each tag in :data:`_TIFF_PIXELS`.
    :param end: the end of the directory, or of the last of its values that do not fit into it.
    :param following: the position of the next directory; 0 for none.
    """

    sides: dict[int, list[int]]
    texts: list[tuple[int, int]]
    arrays: dict[int, tuple[int, int, int]]
    end: int
    following: int


def _tiff_directory(file: File, at: int, tiff_format: _TiffFormat) -> Steps[_TiffDirectory | None]:
    """Return the directory at ``at``; ``None`` if there is none, or not all of it."""
    order, offset = tiff_format.order, struct.Struct(tiff_format.order + tiff_format.offset)
    number = struct.Struct(order + tiff_format.entries)
    start = yield from file.read(at, number.size)
    if not at or len(start) < number.size:
        return None
    length = 4 + 2 * offset.size
    (entries,) = number.unpack(start)
    end = length * min(entries, _MAX_TIFF_ENTRIES)
    directory = yield from file.read(at + number.size, end + offset.size)
    if entries > _MAX_TIFF_ENTRIES or len(directory) < end + offset.size:
        return None
    sides: dict[int, list[int]] = {side: [] for side in (*_TIFF_PAGE, *_TIFF_TILE)}
    texts: list[tuple[int, int]] = []
    arrays: dict[int, tuple[int, int, int]] = {}
    all_end = at + number.size + len(directory)
    for entry in range(0, end, length):
        tag, kind, values = struct.unpack_from(order + "HH" + tiff_format.offset, directory, entry)
        value_at = entry + 4 + offset.size
        value_bytes, value_offset = values * _TIFF_SIZES.get(kind, 1), at + number.size + value_at
        if value_bytes > offset.size:
            (value_offset,) = offset.unpack_from(directory, value_at)
            all_end = max(all_end, value_offset + value_bytes)
            if kind == 2 or tag in _TIFF_TEXTS:
                texts.append((value_offset, value_bytes))
        if tag in _TIFF_PIXELS:
            arrays[tag] = kind, values, value_offset
        if tag in sides:
            value = struct.Struct(order + _TIFF_TYPES.get(kind, "Q"))
            known = kind in _TIFF_TYPES and values == 1 and value.size <= offset.size
            sides[tag].append(value.unpack_from(directory, value_at)[0] if known else 0)
    return _TiffDirectory(sides, texts, arrays, all_end, offset.unpack_from(directory, end)[0])


def _tiff_size(sides: Mapping[int, list[int]], tags: tuple[int, int]) -> Dimensions:
    """Return the size in the two tags, each side the largest of its values."""
    width, height = (max(sides[tag], default=0) for tag in tags)
    return Dimensions(width, height)


def _refuse_in_tiff_texts(file: File, directory: _TiffDirectory) -> Steps[None]:
    """Refuse a page or a script in the texts of a directory.

    :raises Mismatch: a text has one.
    """
    for start, size in directory.texts[:_MAX_TIFF_TEXTS]:
        if size <= _MAX_TIFF_TEXT_BYTES and start < file.size:
            yield from refuse_inside(file, start, start + size)


def _tiff_pixels_end(file: File, directory: _TiffDirectory, tiff_format: _TiffFormat) -> Steps[int]:
    """Return the end of the last strip or tile of a page; the end of the file if the directory does not name it."""
    arrays: list[tuple[int, ...]] = []
    for kind, number, at in (directory.arrays.get(tag, (0, 0, 0)) for tag in _TIFF_PIXELS):
        values = struct.Struct(f"{tiff_format.order}{min(number, _MAX_TIFF_STRIPS)}{_TIFF_TYPES.get(kind, 'B')}")
        known = kind in _TIFF_TYPES and number <= _MAX_TIFF_STRIPS
        data = (yield from file.read(at, values.size)) if known else b""
        arrays.append(values.unpack(data) if known and len(data) == values.size else ())
    strips, strip_bytes, tiles, tile_bytes = arrays
    ends = [at + size for at, size in (*zip(strips, strip_bytes, strict=False), *zip(tiles, tile_bytes, strict=False))]
    return max(ends, default=file.size)


def _dimensions(width: int, height: int, *, maximum: int = 2**32) -> Dimensions:
    """Return the dimensions.

    :param maximum: the largest width and height, in pixels.
    :raises Damaged: a side is 0 or more than ``maximum``.
    """
    if not (0 < width <= maximum and 0 < height <= maximum):
        raise Damaged("its image has no size")
    return Dimensions(width, height)
