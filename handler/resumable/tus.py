"""tus 1.0 (https://tus.io/protocols/resumable-upload): from header fields to requests. Pure.

Extensions: creation, creation-with-upload, creation-defer-length, expiration, checksum and termination.
"""

from __future__ import annotations

from ..problems import MalformedRequest, PreconditionFailed
from . import fields
from .requests import Append, Creation, Headers

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
ALGORITHMS = {"sha1": 20, "sha256": 32, "md5": 16}
"""The algorithms of checksums, and the sizes of their digests in bytes."""
MEDIA_TYPE = "application/offset+octet-stream"


def is_used(headers: Headers) -> bool:
    """Return whether a request follows tus."""
    return headers.get("Tus-Resumable") is not None


def check_version(headers: Headers) -> None:
    """:raises PreconditionFailed: the client uses another version."""
    if headers.get("Tus-Resumable") != VERSION:
        problem = PreconditionFailed(f"This version of tus is not supported. Use tus {VERSION}.")
        problem.headers = {"Tus-Version": VERSION}
        raise problem


def check_concatenation(headers: Headers) -> None:
    """Refuse parallel uploads, in every protocol that tus-js-client speaks: their pieces would become files.

    :raises MalformedRequest: the request asks for an upload that is made of others, or becomes a part of one.
    """
    if headers.get("Upload-Concat") is not None:
        raise MalformedRequest(
            "Upload-Concat is not supported, so an upload cannot be made of others. In tus-js-client, leave out "
            "'parallelUploads'."
        )


def creation(headers: Headers) -> Creation:
    """Return the request that begins an upload.

    :raises MalformedRequest: the header fields contradict each other, or cannot be read.
    """
    length, deferred = headers.get("Upload-Length"), headers.get("Upload-Defer-Length")
    if (length is None) == (deferred is None) or deferred not in (None, "1"):
        raise MalformedRequest("Send Upload-Length with the size of the file, or Upload-Defer-Length: 1.")
    written = headers.get("Upload-Metadata") or None
    return Creation(
        length=_number("Upload-Length", length),
        is_complete=None,
        metadata=fields.metadata(written) if written else {},
        written_metadata=written,
    )


def append(headers: Headers) -> Append:
    """Return the request that appends a piece.

    :raises MalformedRequest: a number is missing, or is not valid.
    """
    offset = _number("Upload-Offset", headers.get("Upload-Offset"))
    if offset is None:
        raise MalformedRequest("Upload-Offset is missing. Send the offset at which the piece begins.")
    return Append(offset=offset, length=_number("Upload-Length", headers.get("Upload-Length")), is_complete=None)


def _number(name: str, value: str | None) -> int | None:
    number = fields.integer(value)
    if number is None and value is not None:
        raise MalformedRequest(f"{name} is not a whole number of bytes. Send one.")
    return number
