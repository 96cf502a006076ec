"""Check that the bytes of a file are of its type. There is one module per family of formats.

A *check* is a generator. It yields the :class:`Range` that it needs to see, is sent these bytes, and returns the
dimensions of an image or ``None``. It raises :class:`Mismatch` for a file that is not of its type. A check therefore
does not depend on where the file is: on disk, in memory, or in a bucket that is asked with ranged reads. Compressed
content stays packed, except the few small entries that :mod:`.archives` and :mod:`.office` name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

from ...units import KIB, MIB

HEAD_BYTES = 4096
"""The beginning of a file that every check sees first. For most types the check needs nothing else."""
READ_AHEAD_BYTES = 4096
"""The smallest range that a check asks for: a smaller one is not faster, and the next question is often nearby."""
MIN_SEQUENTIAL_BYTES = 64 * KIB
MAX_SEQUENTIAL_BYTES = MIB
"""A check that asks for the next bytes gets 64 KiB, then twice as much each time, up to 1 MiB."""
PIECE_BYTES = 4 * MIB
"""The read-ahead of a check that looks at the whole file: an ordinary photo is its head and one piece."""
QUESTION_BYTES = MIB
"""Each question counts as at least this many bytes, because a bucket needs about as long for a small range."""
MAX_BYTES = 64 * MIB
"""The largest number of bytes of a file that a check may see."""
MAX_RANGES = MAX_BYTES // QUESTION_BYTES
"""The largest number of questions, which follows from :data:`MAX_BYTES`."""
MAX_PARTS = 100_000
"""The largest number of parts (chunks, segments, frames, boxes) that a check follows. Tiny parts cost time."""
_REMEMBERED_BYTES = 4 * PIECE_BYTES
"""A check keeps this many bytes, so that the metadata of a photo, up to 8 MiB, are read only once."""

T = TypeVar("T")


class Range(NamedTuple):
    """Bytes that a check needs to see. A range is never empty, and never reaches beyond the file."""

    offset: int
    length: int


class Dimensions(NamedTuple):
    """The width and the height of an image in pixels, as its header has them."""

    width: int
    height: int


class Mismatch(Exception):
    """The file is not of the type.

    :param reason: the evidence, as a clause: "it has no header".
    :param advice: a sentence that says what to do, if the sentence of the class does not fit.
    """

    advice = "Send the file with the extension of its real type."

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice or self.advice


class Damaged(Mismatch):
    """The file may be of the type, but is damaged or not complete."""

    advice = "It may be damaged or cut off. Save or export the file again, and send it again."


class Unsafe(Mismatch):
    """The file may be of the type, but has something dangerous or ambiguous inside."""

    advice = "Save or pack the file again without that."


Steps: TypeAlias = Generator[Range, bytes, T]
"""A generator that yields the ranges it needs to see, is sent their bytes, and returns a ``T``."""


class File:
    """A file as a check sees it. It asks for bytes that it does not have, and keeps the bytes that it got last.

    :param size: the size of the whole file, in bytes.
    :param read_ahead: the number of bytes to ask for when a check goes on where it stopped. Without it, this number
        begins at :data:`MIN_SEQUENTIAL_BYTES` and doubles up to :data:`MAX_SEQUENTIAL_BYTES`.
    """

    def __init__(self, size: int, *, read_ahead: int | None = None) -> None:
        self.size = size
        self._ranges: list[tuple[int, bytes]] = []  # in the order of the questions; at most MAX_RANGES
        self._min_ahead = read_ahead or MIN_SEQUENTIAL_BYTES
        self._max_ahead = read_ahead or MAX_SEQUENTIAL_BYTES
        self._ahead = self._min_ahead
        self._spent = 0

    def read(self, offset: int, length: int) -> Steps[bytes]:
        """Return ``length`` bytes from ``offset`` on, or fewer where the file ends.

        :raises Mismatch: the check would see more than :data:`MAX_BYTES`.
        """
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        known = self._known(offset, end)
        if known is not None:
            return known
        start, data = yield from self._range_with(offset, end)
        return data[offset - start : end - start]

    def _known(self, offset: int, end: int) -> bytes | None:
        """Return bytes that the check has already, in one range or in several that follow each other."""
        parts: list[bytes] = []
        while offset < end:
            for start, data in reversed(self._ranges):
                if start <= offset < start + len(data):
                    parts.append(data[offset - start : end - start])
                    offset += len(parts[-1])
                    break
            else:
                return None
        return b"".join(parts)

    def piece(self, at: int, minimum: int = 1) -> Steps[tuple[int, bytes]]:
        """Return the position and the bytes of the range around ``at``, without a copy.

        :param minimum: the number of bytes from ``at`` on that the range has at least, if the file is that long.
        :raises Mismatch: the file ends before ``at``; or see :meth:`read`.
        """
        start, data = yield from self._range_with(at, min(at + minimum, self.size))
        if not 0 <= at - start < len(data):
            raise Damaged("it ends too early")
        return start, data

    def _range_with(self, offset: int, end: int) -> Steps[tuple[int, bytes]]:
        """Return the position and the bytes of a range that covers ``offset`` to ``end``, asking for it if needed."""
        for start, data in reversed(self._ranges):
            if start <= offset and end <= start + len(data):
                return start, data
        wanted = self._next_range(offset, end)
        self._spent += max(wanted.length, QUESTION_BYTES)
        if self._spent > MAX_BYTES:
            raise Unsafe("the parts that show its type are too large, or too far apart, to be checked")
        while len(self._ranges) > 1 and sum(len(data) for _, data in self._ranges) + wanted.length > _REMEMBERED_BYTES:
            del self._ranges[1]  # the oldest except the head, before another one is in memory
        data = yield wanted
        self._ranges.append((wanted.offset, data))
        return wanted.offset, data

    def _next_range(self, offset: int, end: int) -> Range:
        """Return a larger range than the check needs: much larger where the check goes on near the last range.

        A range of all bytes except the first becomes the whole file, which a storage that has the file in memory need
        not copy.
        """
        start, minimum = offset, READ_AHEAD_BYTES
        if self._ranges:
            last_start, last_data = self._ranges[-1]
            last_end = last_start + len(last_data)
            if last_start <= offset <= last_end + self._ahead:
                start, minimum = min(offset, last_end), self._ahead
                self._ahead = min(2 * self._ahead, self._max_ahead)
            else:
                self._ahead = self._min_ahead
        until = min(max(end, start + minimum), self.size)
        if until == self.size and start <= READ_AHEAD_BYTES:
            start = 0
        return Range(start, until - start)

    def need(self, offset: int, length: int) -> Steps[bytes]:
        """Return exactly these bytes.

        :raises Mismatch: the file ends before them; or see :meth:`read`.
        """
        data = yield from self.read(offset, length)
        if len(data) < length:
            raise Damaged("it ends too early")
        return data

    def head(self) -> Steps[bytes]:
        """Return the first :data:`HEAD_BYTES`, or all bytes of a shorter file."""
        return (yield from self.read(0, HEAD_BYTES))

    def begins_with(self, *signatures: bytes, otherwise: str) -> Steps[None]:
        """Compare the beginning of the file with the signatures of its type, before the check looks at its length.

        :param otherwise: the reason of the mismatch.
        :raises Mismatch: the file begins with none of the signatures, or the storage has no bytes of the file left.
        """
        head = yield from self.head()
        if not head.startswith(signatures):
            raise Mismatch(otherwise) if head else Damaged("it ends too early")

    def tail(self, length: int = HEAD_BYTES) -> Steps[bytes]:
        """Return the last ``length`` bytes, or all bytes of a shorter file."""
        return (yield from self.read(max(0, self.size - length), length))


Check: TypeAlias = Callable[[File], Steps[Dimensions | None]]
"""A check of a :class:`~handler.inspection.filetypes.FileType`.

:raises Mismatch: the file is not of the type.
"""
