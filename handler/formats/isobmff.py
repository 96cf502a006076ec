"""Files of boxes, as ISO/IEC 14496-12 has them: AVIF, HEIC, MP4, M4A, QuickTime. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Set
from typing import NamedTuple

from . import Dimensions, File, Mismatch, Steps

_HEVC_IMAGES = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_AV1_IMAGES = frozenset((b"avif", b"avis"))
_ANY_IMAGES = frozenset((b"mif1", b"mif2", b"msf1"))
_MP4 = re.compile(
    rb"iso[m2-9a-c]|mp4[12]|avc1|hvc1|av01|M4[VABP].|MSNV|dash|cmf[cs2]|3g[p2][0-9a-z]|mmp4|f4v |F4V |XAVC"
)
_OLD_QUICKTIME = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
"""What a film from before 2001 begins with, and from cameras long after (QuickTime File Format, "File type atom")."""


class _Box(NamedTuple):
    kind: bytes
    start: int
    """Of its content."""
    end: int


def avif(file: File) -> Steps[Dimensions | None]:
    """AVIF (AV1 Image File Format, section 6)."""
    yield from _file_type(file, _AV1_IMAGES)
    return (yield from _largest_image(file))


def heic(file: File) -> Steps[Dimensions | None]:
    """HEIC (ISO/IEC 23008-12, annex B)."""
    yield from _file_type(file, _HEVC_IMAGES)
    return (yield from _largest_image(file))


def heif(file: File) -> Steps[Dimensions | None]:
    """HEIF, whatever it is coded in (ISO/IEC 23008-12, section 10.2), but AVIF, which has a name of its own."""
    brands = yield from _file_type(file, _HEVC_IMAGES | _ANY_IMAGES)
    if brands & _AV1_IMAGES:
        raise Mismatch("it is AVIF")
    return (yield from _largest_image(file))


def quicktime(file: File) -> Steps[Dimensions | None]:
    """A QuickTime film."""
    first = yield from _box(file, 0, file.size)
    if first.kind == b"ftyp":
        yield from _file_type(file, frozenset((b"qt  ",)))
    elif first.kind not in _OLD_QUICKTIME:
        raise Mismatch("it has no QuickTime header")
    yield from _find(file, 0, file.size, b"moov")
    return None


def mp4(file: File) -> Steps[Dimensions | None]:
    """MP4 (ISO/IEC 14496-14), and the brands that differ from it in name only; with sound alone, too."""
    brands = yield from _file_type(file, None)
    if not any(_MP4.fullmatch(brand) for brand in brands) or brands & (_AV1_IMAGES | _HEVC_IMAGES | _ANY_IMAGES):
        raise Mismatch("it is not MP4 but another format of its family")
    yield from _find(file, 0, file.size, b"moov")
    return None


def _file_type(file: File, expected: Set[bytes] | None) -> Steps[Set[bytes]]:
    """The brands of the first box, ``ftyp`` (section 4.3), of which one must be expected."""
    box = yield from _box(file, 0, file.size)
    if box.kind != b"ftyp":
        raise Mismatch("it has no file type box")
    content = yield from file.need(box.start, box.end - box.start)
    if len(content) < 8 or len(content) % 4:
        raise Mismatch("its file type box is damaged")
    brands = {content[:4], *(content[at : at + 4] for at in range(8, len(content), 4))}
    if expected is not None and not brands & expected:
        raise Mismatch("its file type box names other formats")
    return brands


def _largest_image(file: File) -> Steps[Dimensions]:
    """The largest that the file describes: tiles, thumbnails, and what they are put together to (section 6.5.3)."""
    meta = yield from _find(file, 0, file.size, b"meta")
    handler = yield from _find(file, meta.start + 4, meta.end, b"hdlr")  # after the version and the flags
    if (yield from file.need(handler.start + 8, 4)) != b"pict":
        raise Mismatch("its metadata are not those of an image")
    properties = yield from _find(file, meta.start + 4, meta.end, b"iprp")
    container = yield from _find(file, properties.start, properties.end, b"ipco")
    found: list[Dimensions] = []
    at = container.start
    while at < container.end:
        box = yield from _box(file, at, container.end)
        if box.kind == b"ispe":
            width, height = struct.unpack(">II", (yield from file.need(box.start + 4, 8)))
            found.append(Dimensions(width, height))
        at = box.end
    largest = max(found, key=lambda image: image.width * image.height, default=Dimensions(0, 0))
    if not (largest.width and largest.height):
        raise Mismatch("its image has no size")
    return largest


def _find(file: File, start: int, end: int, kind: bytes) -> Steps[_Box]:
    """The first box of that kind in this stretch."""
    while start < end:
        box = yield from _box(file, start, end)
        if box.kind == kind:
            return box
        start = box.end
    raise Mismatch(f"it has no {kind.decode()} box")


def _box(file: File, at: int, end: int) -> Steps[_Box]:
    """The box that begins there (section 4.2)."""
    size, kind = struct.unpack(">I4s", (yield from file.need(at, 8)))
    start = at + 8
    if size == 1:
        (size,) = struct.unpack(">Q", (yield from file.need(start, 8)))
        start += 8
    if size == 0:  # up to the end of the file
        size = end - at
    if at + size < start or at + size > end:
        raise Mismatch("its boxes do not fit into it")
    return _Box(kind, start, at + size)
