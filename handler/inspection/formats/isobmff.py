"""Files of boxes (ISO/IEC 14496-12): AVIF, HEIC, MP4, M4A, QuickTime."""

from __future__ import annotations

import re
import struct
from collections.abc import Set
from typing import NamedTuple

from . import MAX_PARTS, Damaged, Dimensions, File, Mismatch, Steps, Unsafe
from .hidden import refuse_behind, refuse_inside

_HEVC_IMAGES = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_AV1_IMAGES = frozenset((b"avif", b"avis"))
_ANY_IMAGES = frozenset((b"mif1", b"mif2", b"msf1"))
_OTHER_IMAGES = frozenset(
    (b"avci", b"avcs", b"jpeg", b"jpgs", b"j2ki", b"j2is", b"vvic", b"vvis", b"evbi", b"evmi", b"unci")
)
"""Brands of images in AVC, JPEG, JPEG 2000, VVC, EVC, or not coded at all (ISO/IEC 23008-12 and 23001-17)."""
_OTHER_CODINGS = frozenset((b"av1C", b"avcC", b"jpgC", b"j2kH", b"vvcC", b"evcC", b"uncC"))
"""Properties of images that are not coded in HEVC, which has ``hvcC``."""
_MP4 = re.compile(
    rb"iso[m2-9a-c]|mp4[12]|avc1|hvc1|av01|M4[VABP].|MSNV|dash|cmf[cs2]|3g[a-z2][0-9a-z]|mmp4|f4v |F4V |XAVC|piff|isml"
)
_OLD_QUICKTIME = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
"""The first box of a film from before 2001, and from cameras long after (QuickTime File Format, "File type atom")."""
_NO_PICTURE = frozenset((b"soun", b"meta", b"text", b"sbtl", b"subt", b"hint", b"tmcd"))
"""The handlers of tracks that have no pictures (section 12)."""
_TOO_MANY_BOXES = "it has more boxes than are checked"


class _Box(NamedTuple):
    """A box of a file.

    :param start: the position of the content of the box.
    :param end: the position behind the box.
    """

    kind: bytes
    start: int
    end: int


def avif(file: File) -> Steps[Dimensions | None]:
    """Check an AVIF image (AV1 Image File Format, section 6)."""
    yield from _file_type(file, _AV1_IMAGES)
    return (yield from _largest_image(file)).largest


def heic(file: File) -> Steps[Dimensions | None]:
    """Check an HEIC image (ISO/IEC 23008-12, annex B).

    The brands that any coding may have are accepted as well, if nothing in the file names another coding.
    """
    brands = yield from _file_type(file, _HEVC_IMAGES | _ANY_IMAGES)
    images = yield from _largest_image(file)
    if not brands & _HEVC_IMAGES:
        codings = images.properties & _OTHER_CODINGS
        if brands & (_AV1_IMAGES | _OTHER_IMAGES) or (codings and b"hvcC" not in images.properties):
            raise Mismatch("its file type box names other formats")
    return images.largest


def heif(file: File) -> Steps[Dimensions | None]:
    """Check an HEIF image in any coding (ISO/IEC 23008-12, section 10.2), except AVIF, which has its own extension."""
    brands = yield from _file_type(file, _HEVC_IMAGES | _ANY_IMAGES)
    if brands & _AV1_IMAGES:
        raise Mismatch("it is AVIF")
    return (yield from _largest_image(file)).largest


def quicktime(file: File) -> Steps[Dimensions | None]:
    """Check a QuickTime film."""
    first = (yield from file.read(0, 8))[4:]
    if first == b"ftyp":
        yield from _file_type(file, frozenset((b"qt  ",)))
    elif first not in _OLD_QUICKTIME:
        raise Mismatch("it has no QuickTime header")
    yield from _find(file, 0, file.size, b"moov")
    return None


def mp4(file: File) -> Steps[Dimensions | None]:
    """Check an MP4 film or sound (ISO/IEC 14496-14), and the brands that differ from MP4 only in name."""
    brands = yield from _file_type(file, None)
    if not any(_MP4.fullmatch(brand) for brand in brands) or brands & (_AV1_IMAGES | _HEVC_IMAGES | _ANY_IMAGES):
        raise Mismatch("it is another format of the MP4 family")
    yield from _find(file, 0, file.size, b"moov")
    return None


def _file_type(file: File, expected: Set[bytes] | None) -> Steps[Set[bytes]]:
    """Return the brands of the first box, ``ftyp`` (section 4.3).

    :param expected: the brands of which the file must have one; ``None`` for any brand.
    :raises Mismatch: the file has no such box, or no expected brand.
    """
    if (yield from file.read(0, 8))[4:] != b"ftyp":  # before the size, which means nothing in other formats
        raise Mismatch("it has no file type box")
    box = yield from _box(file, 0, file.size)
    content = yield from file.need(box.start, box.end - box.start)
    if len(content) < 8 or len(content) % 4:
        raise Damaged("its file type box is damaged")
    brands = {content[:4], *(content[at : at + 4] for at in range(8, len(content), 4))}
    if expected is not None and not brands & expected:
        raise Mismatch("its file type box names other formats")
    return brands


class _Images(NamedTuple):
    """The images of a file.

    :param largest: the largest of the sizes that the file describes.
    :param properties: the kinds of boxes that describe the images, such as ``hvcC``.
    """

    largest: Dimensions
    properties: Set[bytes]


def _largest_image(file: File) -> Steps[_Images]:
    """Return the largest image that the file describes, and search the bytes behind the last box.

    Tiles, thumbnails, the image that is put together from tiles (section 6.5.3), and the tracks of a sequence count.
    Every decoder believes one of these sizes, and decoders differ in which one.

    :raises Mismatch: the file describes no image, or describes its images twice, or has something dangerous inside.
    """
    sizes: list[Dimensions] = []
    properties: set[bytes] = set()
    kinds: list[bytes] = []
    at = 0
    for _ in range(MAX_PARTS):
        box = yield from _outer_box(file, at, is_needed=not sizes)
        if box is None:
            break
        kinds.append(box.kind)
        if box.kind == b"meta":
            box_properties, box_sizes = yield from _image_properties(file, box)
            properties |= box_properties
            sizes += box_sizes
            yield from refuse_inside(file, box.start, box.end)
        if box.kind == b"moov":
            sizes += yield from _track_sizes(file, box)
        at = box.end
    if not (b"meta" in kinds or b"moov" in kinds):
        raise Mismatch("it has no meta box")
    if kinds.count(b"meta") > 1 or kinds.count(b"moov") > 1:
        raise Unsafe("it describes its images twice")
    largest = max(sizes, key=lambda size: size.width * size.height, default=Dimensions(0, 0))
    if not (largest.width and largest.height):
        raise Damaged("its image has no size")
    yield from refuse_behind(file, at)
    return _Images(largest, properties)


def _outer_box(file: File, at: int, *, is_needed: bool) -> Steps[_Box | None]:
    """Return the box at ``at`` that is in no other box; ``None`` behind the last one.

    :param is_needed: whether a box must be there. If not, bytes that are not a box end the row of boxes.
    :raises Mismatch: a box must be there, and does not fit into the file.
    """
    if at >= file.size:
        return None
    try:
        box = yield from _box(file, at, file.size)
    except Mismatch:
        if is_needed:
            raise
        return None
    return box if is_needed or box.kind.isalnum() else None


def _image_properties(file: File, meta: _Box) -> Steps[tuple[set[bytes], list[Dimensions]]]:
    """Return the kinds of the properties of the images that a ``meta`` box describes, and the sizes of these images.

    :raises Mismatch: the box describes something else than images.
    """
    start = meta.start + 4  # after the version and the flags
    handler = yield from _find(file, start, meta.end, b"hdlr")
    if (yield from file.need(handler.start + 8, 4)) != b"pict":
        raise Mismatch("its metadata are not those of an image")
    kinds: set[bytes] = set()
    sizes: list[Dimensions] = []
    for container in (yield from _find_all(file, start, meta.end, b"iprp", b"ipco")):
        for box in (yield from _children(file, container.start, container.end)):
            kinds.add(box.kind)
            if box.kind == b"ispe":
                width, height = struct.unpack(">II", (yield from file.need(box.start + 4, 8)))
                sizes.append(Dimensions(width, height))
    return kinds, sizes


def _track_sizes(file: File, movie: _Box) -> Steps[list[Dimensions]]:
    """Return the sizes of the tracks with pictures.

    A track has a size in its header (section 8.3.2), and in each entry that describes its samples (section 12.1.3).
    """
    sizes: list[Dimensions] = []
    for track in (yield from _find_all(file, movie.start, movie.end, b"trak")):
        kinds = set()
        for handler in (yield from _find_all(file, track.start, track.end, b"mdia", b"hdlr")):
            kinds.add((yield from file.need(handler.start + 8, 4)))
        if kinds <= _NO_PICTURE:
            continue
        for header in (yield from _find_all(file, track.start, track.end, b"tkhd")):
            (version,) = yield from file.need(header.start, 1)
            width, height = struct.unpack(">II", (yield from file.need(header.start + (88 if version else 76), 8)))
            sizes.append(Dimensions(width >> 16, height >> 16))
        samples = yield from _find_all(file, track.start, track.end, b"mdia", b"minf", b"stbl", b"stsd")
        for description in samples:
            for entry in (yield from _children(file, description.start + 8, description.end)):
                width, height = struct.unpack(">HH", (yield from file.need(entry.start + 24, 4)))
                sizes.append(Dimensions(width, height))
    return sizes


def _find_all(file: File, start: int, end: int, *path: bytes) -> Steps[list[_Box]]:
    """Return all boxes at the end of a path of kinds, each kind inside the kind before it.

    :param start: the position of the first box on the outermost level.
    :param end: the position behind the last one.
    """
    boxes = [_Box(b"", start, end)]
    for kind in path:
        inner: list[_Box] = []
        for box in boxes:
            inner += [child for child in (yield from _children(file, box.start, box.end)) if child.kind == kind]
        boxes = inner
    return boxes


def _children(file: File, start: int, end: int) -> Steps[list[_Box]]:
    """Return the boxes between two positions.

    :raises Mismatch: there are more than :data:`~handler.inspection.formats.MAX_PARTS`, or they do not fit.
    """
    boxes: list[_Box] = []
    while start < end:
        if len(boxes) == MAX_PARTS:
            raise Unsafe(_TOO_MANY_BOXES)
        boxes.append((yield from _box(file, start, end)))
        start = boxes[-1].end
    return boxes


def _find(file: File, start: int, end: int, kind: bytes) -> Steps[_Box]:
    """Return the first box of this kind between two positions.

    :raises Mismatch: there is none, or a box before it does not fit.
    """
    for _ in range(MAX_PARTS):
        if start >= end:
            raise Mismatch(f"it has no {kind.decode()} box")
        box = yield from _box(file, start, end)
        if box.kind == kind:
            return box
        start = box.end
    raise Unsafe(_TOO_MANY_BOXES)


def _box(file: File, at: int, end: int) -> Steps[_Box]:
    """Return the box that begins at ``at`` (section 4.2).

    :param end: the end of the box around it, or of the file.
    :raises Mismatch: the box reaches beyond ``end``.
    """
    size, kind = struct.unpack(">I4s", (yield from file.need(at, 8)))
    start = at + 8
    if size == 1:
        (size,) = struct.unpack(">Q", (yield from file.need(start, 8)))
        start += 8
    if size == 0:  # up to the end of the file
        size = end - at
    if at + size < start or at + size > end:
        raise Damaged("its boxes do not fit into it")
    return _Box(kind, start, at + size)
