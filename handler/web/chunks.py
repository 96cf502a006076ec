"""Recognize the pieces of files that upload widgets send, so that no piece is stored as a whole file.

Each client marks a piece in its own way: with form fields, query parameters or header fields. One table lists them all.
A file that a client sends in a single piece is a whole file. The fields are those of the packages on npm in November
2026.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

FILEPOND_ID = "patch"
"""The query parameter that has the upload id, in FilePond's URLs."""
MAX_NUMBER_CHARS = 20
"""The number of digits of 2**64."""

Fields = Mapping[str, str]


class Headers(Protocol):
    """Header fields, by their names in any case of letters."""

    def get(self, name: str, /) -> str | None: ...


class Client(NamedTuple):
    """How one client marks a piece.

    :param name: the name of the client, for people.
    :param advice: the setting of the client to change, as the rest of a sentence that begins "In <name>,".
    :param fields: the names of the fields that ``is_piece`` reads.
    :param is_piece: decides by the fields of a request.
    """

    name: str
    advice: str
    fields: tuple[str, ...]
    is_piece: Callable[[Fields], bool]


def _number(text: str) -> int | None:
    """Return the number in a field; ``None`` if the field has no number."""
    text = text.strip()
    return int(text) if len(text) <= MAX_NUMBER_CHARS and text.isascii() and text.isdigit() else None


def _is_single(count: str) -> bool:
    """Return whether this number of pieces is a whole file. Plupload sends 0 for an empty file."""
    return _number(count) in (0, 1)


def _by_count(count: str, *, any_of: Collection[str] = (), all_of: Collection[str] = ()) -> Callable[[Fields], bool]:
    """Return the rule for a client that sends the number of pieces.

    :param count: the field with that number. More than one is a piece.
    :param any_of: without the number, any of these fields makes a piece.
    :param all_of: without the number, all of these fields together make a piece.
    """

    def is_piece(fields: Fields) -> bool:
        if count in fields:
            return not _is_single(fields[count])
        return not fields.keys().isdisjoint(any_of) or (bool(all_of) and fields.keys() >= set(all_of))

    return is_piece


def _by_count_in_json(field: str, count: str) -> Callable[[Fields], bool]:
    """Return the rule for a client that sends the number of pieces in a JSON object."""

    def is_piece(fields: Fields) -> bool:
        try:
            value = json.loads(fields[field]) if field in fields else None
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict) and count in value and not _is_single(str(value[count]))

    return is_piece


def _by_size(piece: str, whole: str) -> Callable[[Fields], bool]:
    """Return the rule for a client that sends the size of a piece and that of the file."""

    def is_piece(fields: Fields) -> bool:
        if not fields.keys() >= {piece, whole}:
            return False
        piece_bytes, file_bytes = _number(fields[piece]), _number(fields[whole])
        return piece_bytes is None or file_bytes is None or piece_bytes < file_bytes

    return is_piece


DROPZONE = "Dropzone"
"""The client whose pieces are put together (:mod:`.dropzone`), where resumable uploads are offered."""
_MORE_THAN_HALF = "set 'chunkSize' to more than half of the largest file."  # the rest goes with the last piece

CLIENTS = tuple(
    Client(*row)
    for row in (
        (DROPZONE, "set 'chunking: false'. Or send a form, with the fields before the file.",
         ("dzuuid", "dzchunkindex", "dztotalchunkcount", "dztotalfilesize", "dzchunksize", "dzchunkbyteoffset"),
         _by_count("dztotalchunkcount", any_of=("dzuuid", "dzchunkindex"))),
        ("Resumable.js", _MORE_THAN_HALF, ("resumableChunkNumber", "resumableTotalChunks"),
         _by_count("resumableTotalChunks", any_of=("resumableChunkNumber",))),
        ("flow.js", _MORE_THAN_HALF, ("flowChunkNumber", "flowTotalChunks"),
         _by_count("flowTotalChunks", any_of=("flowChunkNumber",))),
        ("simple-uploader.js", _MORE_THAN_HALF, ("chunkNumber", "identifier", "totalChunks"),
         _by_count("totalChunks", all_of=("chunkNumber", "identifier"))),
        ("Fine Uploader", "set 'chunking: {enabled: false}'.", ("qqpartindex", "qqtotalparts"),
         _by_count("qqtotalparts", any_of=("qqpartindex",))),
        ("ng-file-upload", "leave out 'resumeChunkSize'.", ("_chunkSize", "_totalSize"),
         _by_size("_chunkSize", "_totalSize")),
        ("bootstrap-fileinput", "set 'enableResumableUpload: false'.", ("chunkIndex", "chunkCount"),
         _by_count("chunkCount", any_of=("chunkIndex",))),
        ("Kendo Upload", "leave out 'async.chunkSize'.", ("metadata",), _by_count_in_json("metadata", "totalChunks")),
        ("the DevExtreme FileUploader", "set 'chunkSize: 0'.", ("chunkMetadata",),
         _by_count_in_json("chunkMetadata", "TotalCount")),
        ("the Syncfusion Uploader", "leave out 'asyncSettings.chunkSize'.", ("chunk-index", "total-chunk"),
         _by_count("total-chunk", any_of=("chunk-index",))),
        ("Plupload", "set 'chunk_size: 0', and in WebUploader 'chunked: false'.", ("chunk", "chunks"),
         _by_count("chunks", any_of=("chunk",))),
    )
)  # fmt: skip
"""Every client, those with names of their own first: others send ``chunk`` and ``chunks`` as well."""

FIELDS = frozenset(field for client in CLIENTS for field in client.fields)
"""The names of all fields that mark a piece."""

HEADERS = (
    # RFC 9110, section 14.5: a part must not be taken for the whole.
    ("Content-Range", lambda _: False, "leave out Content-Range (in jQuery File Upload 'maxChunkSize')."),
    # draft-ietf-httpbis-resumable-upload before version 03; a structured field (RFC 9651, section 3.3.6). Requests with
    # Upload-Complete or Tus-Resumable are those of web/resumable.py.
    ("Upload-Incomplete", lambda value: value == "?0", "leave out Upload-Incomplete."),
    ("Upload-Offset", lambda value: value == "0", "begin at its first byte."),
    ("Uploader-Chunk-Number", lambda _: False, "do not use huge-uploader."),
)
"""The header fields that mark a piece: name, whether a value stands for the whole file, and what to do instead."""


def refusal_of_fields(fields: Fields) -> str | None:
    """Return the sentences that refuse a piece; ``None`` if the fields of the request mark none.

    :param fields: the form fields and query parameters of the request. Only those in :data:`FIELDS` are read.
    """
    for client in CLIENTS:
        if client.is_piece(fields):
            name = next(name for name in client.fields if name in fields)
            return (
                f"This is a piece of a file: the field '{name}' says so. Pieces are not put together here. "
                f"In {client.name}, {client.advice}"
            )
    return None


def is_dropzone_piece(fields: Fields) -> bool:
    """Return whether the fields of a form mark a piece of Dropzone's."""
    return CLIENTS[0].is_piece(fields)


def begins_filepond_upload(headers: Headers) -> bool:
    """Return whether a POST announces a file that FilePond sends in pieces.

    tus sends ``Tus-Resumable`` with the length, and the IETF's draft sends ``Upload-Complete``.
    """
    return headers.get("Upload-Length") is not None and not (headers.get("Upload-Complete") or "")


def refusal_of_headers(headers: Headers) -> str | None:
    """Return the sentences that refuse a piece; ``None`` if the header of the request marks none."""
    for name, is_whole, advice in HEADERS:
        value = headers.get(name)
        if value is not None and not is_whole(value.partition(";")[0].strip()):
            return f"This is a piece of a file: the header field {name} says so. Send the file whole: {advice}"
    if begins_filepond_upload(headers):
        return (
            "This announces a file in pieces: the header field Upload-Length says so. FilePond sends the field with "
            "POST /upload, in a form without a file. Omit the field to send a whole file."
        )
    return None


def is_probe(query: Collection[str]) -> bool:
    """Return whether a client asks which pieces have arrived.

    Resumable.js and its relatives ask before they send a piece. To them, status 200 says that the piece has arrived.

    :param query: the names of the query parameters.
    """
    return "resumableChunkNumber" in query or "flowChunkNumber" in query or {"chunkNumber", "identifier"} <= set(query)
