"""A request of either protocol, read from its header fields. Pure: the same values for tus 1.0 and the IETF's draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Headers(Protocol):
    """Header fields, by their names in any case of letters."""

    def get(self, name: str, /) -> str | None: ...


class Append(NamedTuple):
    """A request that appends a piece.

    :param offset: the offset at which the piece begins.
    :param length: the length of the whole file, in bytes, if this request has it.
    :param is_complete: whether the piece is the last; ``None`` if the length decides, as in tus.
    """

    offset: int
    length: int | None
    is_complete: bool | None


class Creation(NamedTuple):
    """A request that begins an upload.

    :param length: the announced length of the file, in bytes, if the client announced one.
    :param is_complete: whether the content of this request is the whole file; ``None`` if the length decides, as in
        tus.
    :param metadata: the pairs of tus's ``Upload-Metadata``.
    :param written_metadata: the same field as the client sent it.
    """

    length: int | None
    is_complete: bool | None
    metadata: Mapping[str, str]
    written_metadata: str | None

    @property
    def first_piece(self) -> Append:
        """The request that appends the content of this request."""
        return Append(offset=0, length=self.length, is_complete=self.is_complete)


class Piece(NamedTuple):
    """A piece, and the size of its content.

    :param append: the request.
    :param size: of the content, in bytes; ``None`` if the content ends where the client ends it.
    """

    append: Append
    size: int | None
