"""The parts that all requests of resumable uploads share: the content that arrives, and the fields of the responses.

Every response satisfies tus 1.0 and the IETF's draft, and most of its fields are the same for both.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from flask import Response, after_this_request, g, request, url_for
from werkzeug.http import http_date

from ..direct.uploads import Pending
from ..problems import (
    ContentCodingNotSupported,
    PieceTypeNotSupported,
    Problem,
    RequestTooLarge,
    UploadNotFound,
)
from ..resumable import ietf, tus
from ..resumable.requests import Piece
from ..resumable.upload_ids import Flags, ResumableId
from ..resumable.uploads import UploadState
from ..storage import StoredFile
from ..storage.direct import Stored
from ..units import MIB
from . import chunks, limits, responses
from .metadata_fields import ignored_member
from .piece_content import PieceContent
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..resumable.uploads import ResumableService

PIECE_TYPES = (tus.MEDIA_TYPE, ietf.MEDIA_TYPE)
CHUNK_BYTES = 4 * MIB
NO_LIMIT = 1 << 62
"""The size at which Werkzeug stops a body that has no ``Content-Length``. The content is counted here."""


def begin_response() -> bool:
    """Add the fields that every response has, and return whether the request follows tus.

    :raises PreconditionFailed: the client uses another version of tus.
    """
    after_this_request(_add_fields)
    g.ignores_dialect = True  # clients of both protocols read the status
    is_tus = tus.is_used(request.headers)
    if is_tus:
        tus.check_version(request.headers)
    return is_tus


def _add_fields(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Cache-Control", "no-store")
    if tus.is_used(request.headers):
        headers["Tus-Resumable"] = tus.VERSION
    if (version := ietf.interop_version(request.headers)) is not None:
        headers["Upload-Draft-Interop-Version"] = str(version)
    headers.setdefault("Upload-Limit", g.get("upload_limit") or limits.upload_limit(limits.max_bytes_in_pieces()))
    problem: Problem | None = g.get("problem")
    if problem is not None and not isinstance(problem, UploadNotFound):
        # The draft: ?1 if the file was refused, so nothing is left to send; ?0 if the request was refused.
        headers.setdefault("Upload-Complete", "?1" if problem.errors else "?0")
    return response


def content_size() -> int | None:
    """Return the size of the content, in bytes; ``None`` if the content ends where the client ends it.

    :raises ContentCodingNotSupported: the content is compressed.
    :raises RequestTooLarge: the content is larger than a request may be.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ContentCodingNotSupported(
            "The request has a Content-Encoding. Send the file as it is, without this field."
        )
    if request.content_length is None:
        return None if request.environ.get("wsgi.input_terminated") else 0
    if request.content_length > current_services().settings.max_content_length:
        raise _too_large()
    return request.content_length


def content_of_request(*, is_whole: bool) -> PieceContent:
    """Return the content of the request.

    :param is_whole: the content is the whole file.
    """
    max_bytes = current_services().settings.max_content_length
    request.max_content_length = NO_LIMIT  # the content is counted here
    return PieceContent(request.stream, request.headers, is_whole=is_whole, max_bytes=max_bytes, too_large=_too_large)


def _too_large() -> RequestTooLarge:
    """Return the problem with a request over the limit: tus-js-client and Uppy send the whole file by default."""
    max_bytes = current_services().settings.max_content_length
    chunk = "4 * 2**20" if max_bytes >= CHUNK_BYTES else str(max_bytes)
    return RequestTooLarge(
        f"The request is larger than {max_bytes:,} bytes. Send the file in smaller pieces: chunkSize: {chunk}.",
        max_bytes=max_bytes,
    )


def check_piece_type() -> None:
    """:raises PieceTypeNotSupported: the content is not a piece by its media type."""
    if request.mimetype not in PIECE_TYPES:
        raise PieceTypeNotSupported(f"A piece has the Content-Type {' or '.join(PIECE_TYPES)}. Send one of them.")


def append(upload: ResumableId, piece: Piece, content: PieceContent) -> UploadState:
    verify = content.verify if content.has_digests else None
    return service().append(upload, piece, iter(content), verify=verify)


def respond_with(
    upload: ResumableId,
    state: UploadState,
    *,
    status: int,
    url: str | None = None,
    ignored: Sequence[str] | None = None,
) -> Response:
    """Return the response to a request that begins or continues an upload.

    :param status: of the response while bytes may arrive.
    :param url: of the upload, if the request began it.
    :param ignored: the names of the fields that are not kept, if this request sent them.
    """
    headers = state_fields(upload, state)
    if url is not None:
        headers["Location"] = url
    match state.verdict:
        case Stored(file):
            g.stored = [file]
            names = service().ignored(upload) if ignored is None else ignored
            body = {**stored_body(file), **ignored_member(names)}
            if url is None and "url" in body:
                headers["Location"] = body["url"]
            if file.sha256 and Flags.WANTS_DIGEST in upload.flags:
                digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
                headers["Repr-Digest"] = f"sha-256=:{digest}:"
            return responses.success(body, status=201, headers=headers)
        case Pending():
            named = request.args.get(chunks.FILEPOND_ID)
            return checking(request.url if named is None else url_of(named), headers)
        case _:
            return responses.nothing(status=status, headers=headers)


def checking(url: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to the last piece of a file that an event promotes.

    :param url: at which the client can ask for the verdict.
    """
    body = {"message": "The file is being checked.", "location": url, "status": url}
    return responses.success(body, status=202, headers={**(headers or {}), "Location": url})


def state_fields(upload: ResumableId, state: UploadState) -> dict[str, str]:
    """Return the fields of a state, for both protocols."""
    headers = {"Upload-Offset": str(state.offset), "Upload-Complete": "?0" if state.verdict is None else "?1"}
    if state.length is not None:
        headers["Upload-Length"] = str(state.length)
    elif Flags.ENDS_AT_LENGTH in upload.flags:
        headers["Upload-Defer-Length"] = "1"
    if state.verdict is None:
        headers["Upload-Expires"] = http_date(upload.expires)
    return headers


def stored_body(file: StoredFile) -> dict[str, Any]:
    entry: dict[str, Any] = responses.file_entry(file)
    body: dict[str, Any] = {"message": f"Stored {file.name}.", "files": [entry]}
    return body | {key: entry[key] for key in ("url", "location") if key in entry}


def limit_of(upload: ResumableId) -> str:
    return limits.upload_limit(upload.max_bytes, seconds=upload.remaining_seconds)


def url_of(signed: str) -> str:
    """Return the URL of an upload, for the client that began it. A token in the path stays there: such a client cannot
    send it in a header field."""
    return url_for("resumable.upload", name=signed, token=(request.view_args or {}).get("token"), _external=True)


def service() -> ResumableService:
    """Return the operations on resumable uploads.

    :raises UploadNotFound: there are none.
    """
    make = current_services().resumable
    if make is None:
        raise UploadNotFound()
    return make()
