"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload-12): from header fields to requests. Pure.

A field whose value is not of its type is ignored, as the draft says (sections 4.1.1 to 4.1.3). The field
``Upload-Draft-Interop-Version`` of older drafts is never needed.
"""

from __future__ import annotations

from ..problems import MalformedRequest
from . import fields
from .requests import Append, Creation, Headers

MEDIA_TYPE = "application/partial-upload"
FIRST_VERSION_WITH_TYPE = 6
"""The first interop version whose pieces have a media type (draft 05). tus-js-client also speaks the one before."""


def is_used(headers: Headers) -> bool:
    """Return whether a request asks for a resumable upload (section 4.2)."""
    return fields.boolean(headers.get("Upload-Complete")) is not None


def interop_version(headers: Headers) -> int | None:
    """Return the version of the draft that the client names."""
    return fields.integer(headers.get("Upload-Draft-Interop-Version"))


def creation(headers: Headers) -> Creation:
    """Return the request that begins an upload (section 4.2).

    tus-js-client sends ``Upload-Metadata`` with this protocol too.

    :raises MalformedRequest: the request is a later piece, or its metadata cannot be read.
    """
    if fields.integer(headers.get("Upload-Offset")):
        raise MalformedRequest(
            "This is a later piece of a file: the header field Upload-Offset says so. Send it to the URL of its upload."
        )
    written = headers.get("Upload-Metadata") or None
    return Creation(
        length=fields.integer(headers.get("Upload-Length")),
        is_complete=fields.boolean(headers.get("Upload-Complete")),
        metadata=fields.metadata(written) if written else {},
        written_metadata=written,
    )


def append(headers: Headers) -> Append:
    """Return the request that appends a piece (section 4.4).

    :raises MalformedRequest: the offset or the completeness is missing, or is not valid.
    """
    offset, is_complete = fields.integer(headers.get("Upload-Offset")), fields.boolean(headers.get("Upload-Complete"))
    if offset is None or is_complete is None:
        raise MalformedRequest(
            "Upload-Offset or Upload-Complete is missing or not valid. Send both, or send Tus-Resumable to use tus."
        )
    return Append(offset=offset, length=fields.integer(headers.get("Upload-Length")), is_complete=is_complete)
