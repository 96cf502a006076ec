"""Find what hides in an image, a sound or a film: a page, a script or a program in it or behind its end. Pure.

A server or a browser that is made to take ``photo.png`` for a page or a program runs it wherever it stands in the file.
Compressed or encrypted content stays hidden, because nothing is unpacked.
"""

from __future__ import annotations

import re

from . import HEAD_BYTES, PIECE_BYTES, Check, Dimensions, File, Range, Steps, T, Unsafe, active, archives

MAX_IMAGE_BYTES = 48 * 1024 * 1024
"""Every byte of an image up to this size is looked at. Of a larger one the last :data:`IMAGE_TAIL_BYTES` are, and so
many from its beginning that both make this size."""
IMAGE_TAIL_BYTES = 8 * 1024 * 1024
MAX_IMAGE_HEAD_BYTES = MAX_IMAGE_BYTES - IMAGE_TAIL_BYTES
MAX_MEDIA_BYTES = 8 * 1024 * 1024
"""Every byte of a sound or a film up to this size is looked at."""
MEDIA_TAIL_BYTES = 1024 * 1024
"""Of a larger sound or film this much is looked at before its end, next to what its check sees."""
_NO_PADDING = re.compile(rb"[^\x00\t\n\v\f\r ]")
_XMP = b"<?xpacket "


def image(check: Check) -> Check:
    """Return the check of a type of image, extended by the search for a page, a script or an archive in it.

    :param check: tells whether a file is of the type, and returns its dimensions.
    """

    def checked(file: File) -> Steps[Dimensions | None]:
        own = File(file.size, read_ahead=PIECE_BYTES)
        return (yield from _searched(check, own, MAX_IMAGE_BYTES, MAX_IMAGE_HEAD_BYTES, IMAGE_TAIL_BYTES))

    return checked


def media(check: Check) -> Check:
    """Return the check of a type of sound or film, extended by the same search.

    :param check: tells whether a file is of the type.
    """

    def checked(file: File) -> Steps[Dimensions | None]:
        return (yield from _searched(check, File(file.size), MAX_MEDIA_BYTES, HEAD_BYTES, MEDIA_TAIL_BYTES))

    return checked


def refuse_inside(file: File, start: int, end: int) -> Steps[None]:
    """Refuse a page or a script in metadata, as far as an image is looked at.

    :param end: where to stop; may be beyond the file.
    :raises Mismatch: there is one.
    """
    while start < min(end, file.size) and _is_looked_at(file, start):
        piece_start, data = yield from file.piece(start)
        if active.inside(data, start - piece_start, end - piece_start):
            raise Unsafe(f"it has {active.EMBEDDED}")
        start = piece_start + len(data)


def refuse_behind(file: File, end: int) -> Steps[None]:
    """Refuse a page, a script or a program behind the end of an image; and anything that is too much to be looked at,
    unless it is one of the things that cameras put there.

    They are padding, further images (CIPA DC-007, Multi-Picture Format), films (Google's Motion Photo), and Samsung's
    trailer, which ends with "SEFT". Other short data are left: many a program appends its own.

    :param end: where the image ends by its own structure.
    :raises Mismatch: see above.
    """
    at = yield from _after_padding(file, end)
    begins = yield from file.read(at, HEAD_BYTES)
    if not begins:
        return
    # The size of the box before "ftyp" begins with zeros, which are padding as well.
    known = begins.startswith(b"\xff\xd8\xff") or b"ftyp" in begins[:8] or (yield from file.tail(4)) == b"SEFT"
    if known:  # compressed data, except at its beginning
        yield from refuse_inside(file, at, at + HEAD_BYTES)
    elif file.size <= MAX_IMAGE_BYTES or at >= file.size - IMAGE_TAIL_BYTES:
        yield from refuse_inside(file, at, file.size)
    else:
        raise Unsafe("it has more behind its end than is looked at")
    if not begins.startswith(_XMP) and (found := active.in_anything(begins)):
        raise Unsafe(f"it has {found} behind its end")


def _after_padding(file: File, at: int) -> Steps[int]:
    """Where from there on the first byte stands that is neither zero nor white space; or where the file ends, or the
    part of it that is looked at."""
    while at < file.size and _is_looked_at(file, at):
        start, data = yield from file.piece(at)
        if found := _NO_PADDING.search(data, at - start):
            return start + found.start()
        at = start + len(data)
    return at


def _is_looked_at(file: File, at: int) -> bool:
    return file.size <= MAX_IMAGE_BYTES or at < MAX_IMAGE_HEAD_BYTES or at >= file.size - IMAGE_TAIL_BYTES


def _searched(check: Check, file: File, whole: int, head: int, tail: int) -> Steps[Dimensions | None]:
    """Run a check, then read the rest of the file, and search everything that was read.

    :param file: not read yet, because only ranges that are asked for here are searched.
    :param whole: the size up to which the rest is the whole file.
    :param head: how many bytes from its beginning are looked at in a larger one.
    :param tail: how many bytes before its end.
    """
    seen = _Seen(file.size)
    dimensions = yield from _shown(check(file), seen)
    parts = [(0, file.size)] if file.size <= whole else [(0, head), (file.size - tail, file.size)]
    yield from _shown(_read_rest(file, parts, seen), seen)
    if seen.embedded:
        raise Unsafe(f"it has {active.EMBEDDED}")
    yield from archives.refuse_appended(file)
    return dimensions


def _shown(steps: Steps[T], seen: _Seen) -> Steps[T]:
    """Run these steps, and show each range that they get to ``seen``."""
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
    """Read what was not seen yet of these parts, and a little on either side of each gap."""
    for start, end in parts:
        at = start
        while (at := seen.end_of_seen(at)) < end:
            from_ = max(0, at - active.MAX_EMBEDDED_BYTES)
            until = min(seen.start_of_seen(at) + active.MAX_EMBEDDED_BYTES, from_ + PIECE_BYTES, file.size)
            yield from file.piece(from_, until - from_)


class _Seen:
    """The ranges of a file that were read, and whether something hides in one of them or across two.

    :param size: of the whole file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.embedded = False
        self._size = size
        self._ranges: list[tuple[int, int]] = []  # start and end; as many as there were questions
        self._first: dict[int, bytes] = {}  # the bytes behind each start
        self._last: dict[int, bytes] = {}  # the bytes before each end

    def add(self, wanted: Range, data: bytes) -> None:
        """Search another range."""
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
        """The first byte from there on that was not seen."""
        while end := max((end for start, end in self._ranges if start <= at < end), default=0):
            at = end
        return at

    def start_of_seen(self, at: int) -> int:
        """The first byte from there on that was seen; the size of the file if none was."""
        return min((start for start, _ in self._ranges if start > at), default=self._size)

    def _search(self, start: int, data: bytes) -> None:
        if active.inside_pixels(data):
            self.embedded = True
        for near, until in ((0, HEAD_BYTES), (self._size - HEAD_BYTES, self._size)):
            if until > start and active.inside(data, max(0, near - start), until - start):
                self.embedded = True
