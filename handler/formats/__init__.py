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
"""How much of a file's beginning every check sees first; for most types, all that it needs."""
READ_AHEAD_BYTES = 4096
"""The least that is asked for: in a bucket a small range takes as long as this, and the next question is often near."""
MAX_RANGES = 64
"""How often a check may ask: a JPEG can have some 60 segments of 64 KiB (maps of depth, in Extended XMP) before it
tells its dimensions."""
MAX_BYTES = 64 * 1024 * 1024
"""A check may see this much of a file."""

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

    :param reason: what gave it away, to be read after a colon: "it has no header".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Steps: TypeAlias = Generator[Range, bytes, T]
"""Yields what it needs to see, is sent that, and returns a ``T``."""


class File:
    """A file as a check sees it: it asks for what has not been seen yet, and remembers what has.

    :param size: of the whole file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._seen: list[tuple[int, bytes]] = []
        self._bytes = 0

    def read(self, offset: int, length: int) -> Steps[bytes]:
        """Bytes from there on: fewer only where the file ends.

        :raises Mismatch: it would be more than may be seen of one file.
        """
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        for start, data in reversed(self._seen):
            if start <= offset and end <= start + len(data):
                return data[offset - start : end - start]
        wanted = Range(offset, min(max(length, READ_AHEAD_BYTES), self.size - offset))
        self._bytes += wanted.length
        if len(self._seen) == MAX_RANGES or self._bytes > MAX_BYTES:
            raise Mismatch("what would show its type is too large, or too scattered, to be looked at")
        data = yield wanted
        self._seen.append((offset, data))
        return data[: end - offset]

    def need(self, offset: int, length: int) -> Steps[bytes]:
        """Exactly those bytes.

        :raises Mismatch: the file ends before; or see :meth:`read`.
        """
        data = yield from self.read(offset, length)
        if len(data) < length:
            raise Mismatch("it ends too early")
        return data

    def head(self) -> Steps[bytes]:
        """Its first :data:`HEAD_BYTES`, or all of a shorter one."""
        return (yield from self.read(0, HEAD_BYTES))

    def tail(self, length: int = HEAD_BYTES) -> Steps[bytes]:
        """Its last bytes, or all of a shorter one."""
        return (yield from self.read(max(0, self.size - length), length))


Check: TypeAlias = Callable[[File], Steps[Dimensions | None]]
"""What a :class:`~handler.filetypes.FileType` is told by.

:raises Mismatch: the file is not of the type.
"""
