"""How the bytes of a file show what it is: one module per family of formats, and the few words they share. Pure.

A *check* is a generator. It yields the :class:`Range` it needs to see, is sent those bytes, and ends with the
dimensions of an image or with ``None``; a file that is not of its type ends it with :class:`Mismatch`. So a check knows
nothing of where a file is: on disk, in memory, or in a bucket that is asked with ranged reads. Nothing is ever
unpacked: whatever a file holds compressed stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

HEAD_BYTES = 4096
"""Every check sees this much of a file's beginning first. For most types it is all that the check needs."""
READ_AHEAD_BYTES = 4096
"""The least that a check asks for: a bucket answers a smaller range no faster, and the next question is often near."""
MIN_SEQUENTIAL_BYTES = 64 * 1024
MAX_SEQUENTIAL_BYTES = 1024 * 1024
"""A check that asks for the next bytes gets 64 KiB, then twice as much each time, up to 1 MiB."""
PIECE_BYTES = 4 * 1024 * 1024
"""The read-ahead of a check that looks at the whole file: an ordinary photo is its head and one piece."""
QUESTION_BYTES = 1024 * 1024
"""Each question counts as at least this many bytes, because a bucket needs about as long for a small range."""
MAX_BYTES = 64 * 1024 * 1024
"""A check may see this much of a file."""
MAX_RANGES = MAX_BYTES // QUESTION_BYTES
"""The number of questions that follows from :data:`MAX_BYTES`."""
MAX_PARTS = 100_000
"""A check follows this many parts of a file (chunks, segments, frames, boxes): tiny ones cost time, not bytes."""
_REMEMBERED_BYTES = 4 * PIECE_BYTES
"""So that the metadata of a photo, which may have 8 MiB, are not read again when they are searched."""

T = TypeVar("T")


class Range(NamedTuple):
    """Bytes that a check needs to see; never empty, never beyond the file."""

    offset: int
    length: int


class Dimensions(NamedTuple):
    """Of an image, in pixels, as its header has them."""

    width: int
    height: int


class Mismatch(Exception):
    """The file is not of the type.

    :param reason: what gave it away, as a clause: "it has no header".
    :param advice: a sentence that says what to do, where the one of the class does not fit.
    """

    advice = "Send the file with the extension of its real type."

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice or self.advice


class Damaged(Mismatch):
    """The file may be of the type, but it is not whole."""

    advice = "It may be damaged or cut off. Save or export the file anew, and send it again."


class Unsafe(Mismatch):
    """The file may be of the type, but it holds something dangerous or ambiguous."""

    advice = "Save or pack the file anew without that."


Steps: TypeAlias = Generator[Range, bytes, T]
"""Yields what it needs to see, is sent that, and returns a ``T``."""


class File:
    """A file as a check sees it: it asks for bytes that it does not have yet, and keeps those that it got last.

    :param size: of the whole file, in bytes.
    :param read_ahead: how many bytes to ask for when a check goes on where it stopped. By default that begins at
        :data:`MIN_SEQUENTIAL_BYTES` and doubles up to :data:`MAX_SEQUENTIAL_BYTES`.
    """

    def __init__(self, size: int, *, read_ahead: int | None = None) -> None:
        self.size = size
        self._ranges: list[tuple[int, bytes]] = []  # in the order of the questions; at most MAX_RANGES
        self._min_ahead = read_ahead or MIN_SEQUENTIAL_BYTES
        self._max_ahead = read_ahead or MAX_SEQUENTIAL_BYTES
        self._ahead = self._min_ahead
        self._spent = 0

    def read(self, offset: int, length: int) -> Steps[bytes]:
        """Bytes from there on: fewer only where the file ends.

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
        """Bytes that the check has got already, in one range or in several that follow on each other."""
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

    def piece(self, at: int, least: int = 1) -> Steps[tuple[int, bytes]]:
        """The range around that place, without a copy: where it begins, and its bytes.

        :param least: how many bytes from ``at`` on it holds at least, if the file is that long.
        :raises Mismatch: the file ends before ``at``; or see :meth:`read`.
        """
        start, data = yield from self._range_with(at, min(at + least, self.size))
        if not 0 <= at - start < len(data):
            raise Damaged("it ends too early")
        return start, data

    def _range_with(self, offset: int, end: int) -> Steps[tuple[int, bytes]]:
        for start, data in reversed(self._ranges):
            if start <= offset and end <= start + len(data):
                return start, data
        wanted = self._next_range(offset, end)
        self._spent += max(wanted.length, QUESTION_BYTES)
        if self._spent > MAX_BYTES:
            raise Unsafe("the parts that show its type are too large, or too far apart, to be looked at")
        while len(self._ranges) > 1 and sum(len(each) for _, each in self._ranges) + wanted.length > _REMEMBERED_BYTES:
            del self._ranges[1]  # the oldest but the head, before there is another one in memory
        data = yield wanted
        self._ranges.append((wanted.offset, data))
        return wanted.offset, data

    def _next_range(self, offset: int, end: int) -> Range:
        """More than was asked for: much more where the check goes on behind the last range or a little further.

        A range of all but the first bytes becomes the whole file: a storage that has it in memory need not copy it.
        """
        start, least = offset, READ_AHEAD_BYTES
        if self._ranges:
            last_start, last_data = self._ranges[-1]
            last_end = last_start + len(last_data)
            if last_start <= offset <= last_end + self._ahead:
                start, least = min(offset, last_end), self._ahead
                self._ahead = min(2 * self._ahead, self._max_ahead)
            else:
                self._ahead = self._min_ahead
        until = min(max(end, start + least), self.size)
        if until == self.size and start <= READ_AHEAD_BYTES:
            start = 0
        return Range(start, until - start)

    def need(self, offset: int, length: int) -> Steps[bytes]:
        """Exactly those bytes.

        :raises Mismatch: the file ends before; or see :meth:`read`.
        """
        data = yield from self.read(offset, length)
        if len(data) < length:
            raise Damaged("it ends too early")
        return data

    def head(self) -> Steps[bytes]:
        """Its first :data:`HEAD_BYTES`, or all of a shorter one."""
        return (yield from self.read(0, HEAD_BYTES))

    def begins_with(self, *signatures: bytes, otherwise: str) -> Steps[None]:
        """Compare the beginning of the file with the signatures of its type, before anything is said of its length.

        :param otherwise: the reason of the mismatch.
        :raises Mismatch: it begins with none of them; or the storage has nothing of it any more.
        """
        head = yield from self.head()
        if not head.startswith(signatures):
            raise Mismatch(otherwise) if head else Damaged("it ends too early")

    def tail(self, length: int = HEAD_BYTES) -> Steps[bytes]:
        """Its last bytes, or all of a shorter one."""
        return (yield from self.read(max(0, self.size - length), length))


Check: TypeAlias = Callable[[File], Steps[Dimensions | None]]
"""What a :class:`~handler.inspection.filetypes.FileType` is told by.

:raises Mismatch: the file is not of the type.
"""
