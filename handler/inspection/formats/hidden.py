"""Find a page, a script or a program that hides in an image, a sound or a film, or behind its end.

An attacker may make a server or a browser take ``photo.png`` for a page or a program. Then it runs at any place in the
file. The search cannot find compressed or encrypted content, because nothing is unpacked.
"""

from __future__ import annotations

import re

from ...units import MIB
from . import HEAD_BYTES, PIECE_BYTES, Check, Dimensions, File, Range, Steps, T, Unsafe, active, archives

MAX_IMAGE_BYTES = 48 * MIB
"""Every byte of an image up to this size is searched. In a larger image the last :data:`IMAGE_TAIL_BYTES` are searched,
and the first :data:`MAX_IMAGE_HEAD_BYTES`. Together they make this size."""
IMAGE_TAIL_BYTES = 8 * MIB
MAX_IMAGE_HEAD_BYTES = MAX_IMAGE_BYTES - IMAGE_TAIL_BYTES
MAX_MEDIA_BYTES = 8 * MIB
"""Every byte of a sound or a film up to this size is searched."""
MEDIA_TAIL_BYTES = MIB
"""The size of the end of a larger sound or film that is searched, next to the ranges that its check asks for."""
_NO_PADDING = re.compile(rb"[^\x00\t\n\v\f\r ]")
_XMP = b"<?xpacket "


def image(check: Check) -> Check:
    """Return a check of images that also searches the file for a page, a script or an archive.

    :param check: decides whether a file is of the type of image, and returns its dimensions.
    """

    def checked(file: File) -> Steps[Dimensions | None]:
        own = File(file.size, read_ahead=PIECE_BYTES)
        return (yield from _check_and_search(check, own, MAX_IMAGE_BYTES, MAX_IMAGE_HEAD_BYTES, IMAGE_TAIL_BYTES))

    return checked


def media(check: Check) -> Check:
    """Return a check of sounds or films that also searches the file for a page, a script or an archive.

    :param check: decides whether a file is of the type of sound or film.
    """

    def checked(file: File) -> Steps[Dimensions | None]:
        return (yield from _check_and_search(check, File(file.size), MAX_MEDIA_BYTES, HEAD_BYTES, MEDIA_TAIL_BYTES))

    return checked


def refuse_inside(file: File, start: int, end: int) -> Steps[None]:
    """Refuse a page or a script in metadata, in the parts of an image that are searched.

    :param start: the position of the metadata.
    :param end: the end of the metadata. It may be beyond the file.
    :raises Mismatch: the metadata have a page or a script inside.
    """
    while start < min(end, file.size) and _is_searched(file, start):
        piece_start, data = yield from file.piece(start)
        if active.inside(data, start - piece_start, end - piece_start):
            raise Unsafe(f"it has {active.EMBEDDED}")
        start = piece_start + len(data)


def refuse_behind(file: File, end: int) -> Steps[None]:
    """Refuse a page, a script or a program behind the end of an image.

    Data that is too long to be searched is refused as well, except the data that cameras put there: padding, further
    images (CIPA DC-007, Multi-Picture Format), films (Google's Motion Photo), and Samsung's trailer, which ends with
    "SEFT". Other short data passes, because many programs append data of their own.

    :param end: the end of the image by its own structure.
    :raises Mismatch: something behind the end is refused.
    """
    at = yield from _after_padding(file, end)
    begins = yield from file.read(at, HEAD_BYTES)
    if not begins:
        return
    # The size of a film's first box, before "ftyp", begins with zeros. They count as padding.
    known = begins.startswith(b"\xff\xd8\xff") or b"ftyp" in begins[:8] or (yield from file.tail(4)) == b"SEFT"
    if known:  # compressed data, except at its beginning
        yield from refuse_inside(file, at, at + HEAD_BYTES)
    elif file.size <= MAX_IMAGE_BYTES or at >= file.size - IMAGE_TAIL_BYTES:
        yield from refuse_inside(file, at, file.size)
    else:
        raise Unsafe("it has more bytes behind its end than are checked")
    if not begins.startswith(_XMP) and (kind := active.in_anything(begins)):
        raise Unsafe(f"it has {kind} behind its end")


def _after_padding(file: File, at: int) -> Steps[int]:
    """Return the position of the first byte from ``at`` on that is neither zero nor white space.

    Without such a byte, the position is the end of the file or of the part that is searched.
    """
    while at < file.size and _is_searched(file, at):
        start, data = yield from file.piece(at)
        if other := _NO_PADDING.search(data, at - start):
            return start + other.start()
        at = start + len(data)
    return at


def _is_searched(file: File, at: int) -> bool:
    return file.size <= MAX_IMAGE_BYTES or at < MAX_IMAGE_HEAD_BYTES or at >= file.size - IMAGE_TAIL_BYTES


def _check_and_search(check: Check, file: File, whole: int, head: int, tail: int) -> Steps[Dimensions | None]:
    """Run a check, then read the rest of the file, and search everything that was read.

    :param file: a file that was not read yet, because only ranges that are asked for here are searched.
    :param whole: the largest size in bytes of a file that is read to its end.
    :param head: the number of bytes at the beginning of a larger file that are read.
    :param tail: the number of bytes at the end of a larger file that are read.
    :raises Mismatch: the check refuses the file, or the search finds something.
    """
    seen = _Seen(file.size)
    dimensions = yield from _show(check(file), seen)
    parts = [(0, file.size)] if file.size <= whole else [(0, head), (file.size - tail, file.size)]
    yield from _show(_read_rest(file, parts, seen), seen)
    if seen.embedded:
        raise Unsafe(f"it has {active.EMBEDDED}")
    yield from archives.refuse_appended(file)
    return dimensions


def _show(steps: Steps[T], seen: _Seen) -> Steps[T]:
    """Run these steps, and add each range that they get to ``seen``."""
    try:
        wanted = next(steps)
        while True:
            data = yield wanted
            seen.add(wanted, data)
            wanted = steps.send(data)
    except StopIteration as done:
        result: T = done.value
        return result


def _read_rest(file: File, parts: list[tuple[int, int]], seen: _Seen) -> Steps[None]:
    """Read the gaps between the ranges of these parts that were seen, and a few bytes on either side of each gap.

    :param parts: the beginning and the end of each part.
    """
    for start, end in parts:
        at = start
        while (at := seen.end_of_seen(at)) < end:
            gap_start = max(0, at - active.MAX_EMBEDDED_BYTES)
            gap_end = min(seen.start_of_seen(at) + active.MAX_EMBEDDED_BYTES, gap_start + PIECE_BYTES, file.size)
            yield from file.piece(gap_start, gap_end - gap_start)


class _Seen:
    """The ranges of a file that were read, and whether a page or a script is in one range or across two ranges.

    :param size: the size of the whole file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.embedded = False
        self._size = size
        self._ranges: list[tuple[int, int]] = []  # start and end; as many as there were questions
        self._first: dict[int, bytes] = {}  # the bytes behind each start
        self._last: dict[int, bytes] = {}  # the bytes before each end

    def add(self, wanted: Range, data: bytes) -> None:
        """Search another range, and the places where it meets the ranges before."""
        start, end = wanted.offset, wanted.offset + len(data)
        first, last = data[: active.MAX_EMBEDDED_BYTES], data[-active.MAX_EMBEDDED_BYTES :]
        self._search(start, data)
        if before := self._last.get(start):
            self._search(start - len(before), before + first)
        if behind := self._first.get(end):
            self._search(end - len(last), last + behind)
        self._ranges.append((start, end))
        self._first[start], self._last[end] = first, last

    def end_of_seen(self, at: int) -> int:
        """Return the position of the first byte from ``at`` on that was not seen."""
        while end := max((end for start, end in self._ranges if start <= at < end), default=0):
            at = end
        return at

    def start_of_seen(self, at: int) -> int:
        """Return the position of the first byte from ``at`` on that was seen; the size of the file if there is none."""
        return min((start for start, _ in self._ranges if start > at), default=self._size)

    def _search(self, start: int, data: bytes) -> None:
        if active.inside_pixels(data):
            self.embedded = True
        for near, until in ((0, HEAD_BYTES), (self._size - HEAD_BYTES, self._size)):
            if until > start and active.inside(data, max(0, near - start), until - start):
                self.embedded = True
