"""Dropzone's pieces (``chunking: true``): from the fields of a form to the place of a piece. Pure.

dropzone 6.3.5 and 5.9 send these fields with each piece. All pieces have the size ``dzchunksize``, except the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..problems import MalformedRequest
from ..units import ceil_div

MAX_UUID_CHARS = 64
MAX_NUMBER_CHARS = 15
MAX_PIECES = 10_000
"""The largest number of pieces of a file. Each piece lists those that have arrived."""


class DropzonePiece(NamedTuple):
    """A piece of a file.

    :param uuid: Dropzone's name of the upload.
    :param length: of the whole file, in bytes.
    :param chunk_bytes: the size of every piece except the last, in bytes.
    :param number: the number of the piece, from 0.
    """

    uuid: str
    length: int
    chunk_bytes: int
    number: int

    @property
    def offset(self) -> int:
        """The offset of the first byte, in bytes."""
        return self.number * self.chunk_bytes

    @property
    def size(self) -> int:
        """The size of the piece, in bytes."""
        return min(self.chunk_bytes, self.length - self.offset)

    def content(self, data: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the content of the piece.

        :raises MalformedRequest: it has another size than the piece.
        """
        size = 0
        for chunk in data:
            size += len(chunk)
            if size > self.size:
                break
            yield chunk
        if size != self.size:
            relation = "more" if size > self.size else "fewer"
            raise MalformedRequest(
                f"Piece {self.number} has {relation} than the {self.size:,} bytes that its fields announce, so it was "
                "not kept. Send it again, and do not change the file meanwhile ('resizeWidth' does)."
            )


def piece_of(fields: Mapping[str, str]) -> DropzonePiece:
    """Return the piece that the fields of a form describe.

    :raises MalformedRequest: a field is missing or not valid, or the fields contradict each other.
    """
    uuid = fields.get("dzuuid", "")
    if not 0 < len(uuid) <= MAX_UUID_CHARS:
        raise MalformedRequest(
            f"This is a piece of a file, and its field 'dzuuid' needs 1 to {MAX_UUID_CHARS} characters. Send the field "
            "before the file."
        )
    piece = DropzonePiece(
        uuid=uuid,
        length=_number(fields, "dztotalfilesize"),
        chunk_bytes=_number(fields, "dzchunksize"),
        number=_number(fields, "dzchunkindex"),
    )
    count, offset = _number(fields, "dztotalchunkcount"), _number(fields, "dzchunkbyteoffset")
    if count > MAX_PIECES:
        raise MalformedRequest(
            f"This is a piece of a file with {count:,} pieces, and a file may have {MAX_PIECES:,}. In Dropzone, set a "
            "larger 'chunkSize'."
        )
    if not piece.chunk_bytes or count != ceil_div(piece.length, piece.chunk_bytes) or piece.number >= count:
        raise MalformedRequest(
            "This is a piece of a file, and its fields 'dztotalfilesize', 'dzchunksize', 'dztotalchunkcount' and "
            "'dzchunkindex' contradict each other. Send Dropzone's, without 'resizeWidth' and 'resizeHeight'."
        )
    if offset != piece.offset:
        raise MalformedRequest(
            f"This is a piece of a file that begins at byte {piece.offset:,}, and its field 'dzchunkbyteoffset' is "
            f"{offset:,}. Send the same."
        )
    return piece


def _number(fields: Mapping[str, str], name: str) -> int:
    """:raises MalformedRequest: the field is missing, or not a number."""
    text = fields.get(name, "").strip()
    if not (0 < len(text) <= MAX_NUMBER_CHARS and text.isascii() and text.isdigit()):
        raise MalformedRequest(
            f"This is a piece of a file, and its field '{name}' is missing, or not a whole number. Send "
            "the field before the file."
        )
    return int(text)
