"""Resumable uploads: the interface of a storage to which a client sends a file in pieces, one request after the other.

A piece begins where the pieces before it end. The first byte of a piece is its name, so two clients that write at one
offset have one winner, a repeated piece is recognised, and the offset never decreases. No lock is held between two
requests. An upload ends once: the first ending that a storage records is final.

A few clients send the pieces of a file in any order, and several at once. :meth:`ResumableUploads.place` takes these
pieces. An upload uses one way only: it appends, or it places.

The pieces of a path arrive where nobody can read them. :mod:`handler.direct.promotion` checks the whole file, and
copies it to ``files/`` or refuses it, as it does for direct uploads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from .direct import Declaration, Incoming


class Ending(StrEnum):
    """Why an upload takes no more bytes. The first ending of an upload is final."""

    COMPLETE = "complete"
    """All bytes have arrived. The verdict may still be missing."""
    CANCELLED = "cancelled"
    """The client deleted the upload."""
    REFUSED = "refused"
    """The file was refused. The reason is written where those of direct uploads are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """The facts that a client gave when it began an upload.

    :param declaration: of the whole file. Its ``size`` is the announced length, in bytes, if the client announced one.
    :param metadata: the value of tus's ``Upload-Metadata``, as the client sent it. tus wants it back.
    :param ignored: the names of the fields that are not kept with the file, for the last response.
    """

    declaration: Declaration
    metadata: str | None = None
    ignored: Sequence[str] = ()

    def to_json(self) -> bytes:
        """Return the facts as JSON, for a storage to keep."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_json(cls, written: bytes) -> Beginning:
        """Return the facts that :meth:`to_json` wrote.

        :raises ValueError, KeyError, TypeError: something else wrote the JSON.
        """
        facts = json.loads(written)
        declaration = Declaration(**facts["declaration"])
        return cls(declaration=declaration, metadata=facts["metadata"], ignored=tuple(facts.get("ignored", ())))


class Extent(NamedTuple):
    """Bytes of a file that have arrived, without a gap. Both numbers are in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The state of an upload that has begun.

    :param offset: the number of bytes that have arrived, from the first byte on and without a gap.
    :param ending: ``None`` while bytes may arrive.
    """

    offset: int
    ending: Ending | None = None


class IncomingPieces(Incoming, Protocol):
    """The bytes of a complete upload, as a promotion sees them."""

    @property
    def reads(self) -> int:
        """The number of pieces that the storage reads to read the whole file."""


class OffsetMismatch(Exception):
    """The piece does not begin where the bytes that have arrived end, or the upload has ended. Nothing was written.

    :param progress: the state of the upload.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress)
        self.progress = progress


class ResumableUploads(Protocol):
    """A storage that takes a file in pieces. Every method may raise :class:`~handler.problems.StorageUnavailable`.

    A path is the file's id, after its folder if it has one (:func:`handler.storage.path_of`).
    """

    def begin(self, path: str, beginning: Beginning, /) -> None:
        """Begin an upload. A repetition with the same path changes nothing.

        :raises AlreadyExists: there is another beginning under this path.
        """

    def beginning(self, path: str, /) -> Beginning | None:
        """Return the facts of :meth:`begin`; ``None`` if the upload never began, or is too old."""

    def set_length(self, path: str, length: int, /) -> int:
        """Record the length of a file that began without one.

        :returns: the recorded length, in bytes. It differs if another request recorded one before.
        """

    def length(self, path: str, /) -> int | None:
        """Return the length that :meth:`set_length` recorded, in bytes."""

    def progress(self, path: str, /) -> Progress | None:
        """Return the state; ``None`` if the upload never began, or is too old. On S3 this takes one call.

        A storage that streams ends a request that still appends, so that the next append can begin at this offset.
        """

    def peek(self, path: str, /) -> Progress | None:
        """Return the state, as :meth:`progress` does, and let a request that appends go on.

        While a request appends, the offset of a storage that streams counts the synced bytes only.
        """

    def append(
        self, path: str, offset: int, content: Iterator[bytes], /, *, verify: Callable[[], None] | None = None
    ) -> int:
        """Append a piece.

        A storage that streams keeps the bytes that came before ``content`` raised, and lets the exception pass.

        :param offset: the offset at which the piece begins. It must be the current offset.
        :param content: the bytes, in pieces of any size. It may be empty.
        :param verify: is called after the last byte and before anything is kept. If it raises, nothing is kept.
        :returns: the new offset.
        :raises OffsetMismatch: the piece begins elsewhere, or the upload has ended. Or, in a storage that streams, a
            newer request for the upload ended this one. Then the bytes that were written before stay.
        :raises UploadNotFound: the upload never began, or is too old.
        """

    def place(
        self, path: str, offset: int, content: Iterator[bytes], /, *, beginning: Beginning | None = None
    ) -> list[Extent]:
        """Keep a piece that begins at this offset, independent of the pieces before it.

        A piece that is sent again with the same bytes changes nothing. If ``content`` raises, nothing is kept.

        :param content: the bytes of the whole piece, in pieces of any size. Without a byte, nothing is kept.
        :param beginning: begins the upload, if no other request has. The facts of the first request stay.
        :returns: the extents that have arrived, with this piece, sorted by their offset and joined where they meet.
            After the last piece there is one extent, from 0 to the length. Of several last pieces at the same moment,
            at least one returns this extent. In a long upload with a gap, extents before the gap may be missing.
        :raises AlreadyExists: a piece with other bytes is at this offset. Nothing was written.
        :raises OffsetMismatch: the upload has ended. The bytes do not count, and :meth:`discard` deletes them.
        :raises UploadNotFound: without ``beginning``: the upload never began, or is too old.
        """

    def read(self, path: str, offset: int, length: int, /, *, max_reads: int | None = None) -> bytes:
        """Return up to ``length`` of the bytes that have arrived, from ``offset`` on.

        :param max_reads: return nothing if the storage would have to read more pieces than this.
        """

    def end(self, path: str, ending: Ending, /, *, offset: int | None = None) -> Ending:
        """End the upload. Afterwards nothing can be appended.

        :param offset: the offset that :meth:`append` has returned. It becomes the size of the file, and saves a call on
            S3. An upload whose pieces are placed always needs it, for every ending: the length of the file. ``None``
            ends the upload at its current offset.
        :returns: the ending, which differs if another request ended the upload before.
        :raises OffsetMismatch: more bytes were appended than ``offset``.
        :raises UploadNotFound: the upload never began, or is too old.
        """

    def hand_over(self, path: str, /) -> None:
        """Have an event of the storage promote a complete upload, which is too large for the request of a gateway.

        A repetition changes nothing. A storage without events does nothing: no gateway waits for it.
        """

    def open_incoming(self, path: str, version: str | None = None, /) -> IncomingPieces | None:
        """Return the bytes of a complete upload; ``None`` if it is not complete, or its bytes were discarded.

        A piece that is written late can take the place of a piece that was discarded. So the caller looks for a refusal
        after this call: if there is none, no piece was discarded before the call.
        """

    def discard(self, path: str, version: str | None = None, /) -> None:
        """Delete the bytes. The ending stays for as long as the client may ask."""

    def discard_incoming(self, path: str, incoming: IncomingPieces, /) -> None:
        """Delete the bytes, as :meth:`discard` does. On S3 this takes one call less.

        :param incoming: the result of :meth:`open_incoming`.
        """
