"""The web sites whose scripts may read our responses: CORS (WHATWG Fetch, "CORS protocol").

Written by hand because of flask-cors (6.0). It reads any origin with a special character as a regular expression. It
sends the whole list to requests that name no origin. By default it allows all origins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Response, g, request

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Digest, Content-Disposition, Content-MD5, Content-Type, Idempotency-Key, "
    "Range, Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length, "
    "Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, Upload-Name, Upload-Offset, Want-Repr-Digest, "
    "X-HTTP-Method-Override, X-Requested-With"
)
"""The fields that upload widgets and our own clients send. Cache-Control and X-Requested-With are Dropzone's. tus and
the IETF's draft have those that begin with Tus and Upload."""
RESPONSE_HEADERS = (
    "Accept-Patch, Allow, Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Location, Repr-Digest, "
    "Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, "
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, "
    "Upload-Offset, WWW-Authenticate, X-Amzn-Remapped-WWW-Authenticate, X-Request-Id"
)
"""A REST API renames ``WWW-Authenticate`` to Amazon's field (AWS: "Amazon API Gateway important notes")."""
PREFLIGHT_SECONDS = 7200
"""The longest time for which Chromium keeps the response to a preflight."""
MAX_REQUESTED_CHARS = 1024
"""The longest list of header fields that is read from a preflight."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110, section 5.6.2


def register(app: Flask, *, allowed_origins: Sequence[str]) -> None:
    """Add the CORS header fields to every response; without an allowed origin, none.

    :param allowed_origins: such as ``https://example.com``, or ``*`` for all.
    """

    def add_fields(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if allowed_origins:
            response.vary.add("Origin")  # a cache must not give the response for one origin to another
        if origin is None:
            return response
        if {origin, "*"} & set(allowed_origins):
            _allow(response, origin=origin, is_listed=origin != "*" and origin in allowed_origins)
        elif not _is_same_origin(origin):
            g.refused_origin = origin  # the log names it
        return response

    app.after_request(add_fields)


def _is_same_origin(origin: str) -> bool:
    """Return whether a page of this endpoint sent the request. Its scripts need no CORS.

    Behind a proxy that changes ``Host``, only the browser knows (W3C, "Fetch Metadata Request Headers").
    """
    return origin == f"{request.scheme}://{request.host}" or request.headers.get("Sec-Fetch-Site") == "same-origin"


def _allow(response: Response, *, origin: str, is_listed: bool) -> None:
    """Allow the scripts of an origin to read the response.

    :param is_listed: whether the setting names this origin. If not, it allows all origins with ``*``.
    """
    if is_listed:
        response.headers["Access-Control-Allow-Origin"] = origin
        # We set no cookies. But some clients always ask for credentials, and cookies of the site, or of a proxy before
        # us, may come along. Without this field the browser then hides the response from the script.
        response.headers["Access-Control-Allow-Credentials"] = "true"
    else:
        response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        _answer_preflight(response)


def _answer_preflight(response: Response) -> None:
    """Allow the request that a browser asks for before it sends it."""
    requested = requested_headers(request.headers.get("Access-Control-Request-Headers", ""))
    response.vary.add("Access-Control-Request-Headers")
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = ", ".join([REQUEST_HEADERS, *requested])
    response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)


def requested_headers(value: str) -> list[str]:
    """Return the header fields that a preflight asks for, except those that are allowed anyway.

    Frameworks add fields of their own to each request, such as ``X-CSRF-TOKEN`` and ``traceparent``. They mean nothing
    here, so the browser may send them.

    :param value: of ``Access-Control-Request-Headers``. More than :data:`MAX_REQUESTED_CHARS` characters are not read.
    """
    if len(value) > MAX_REQUESTED_CHARS:
        return []
    known = {name.lower() for name in REQUEST_HEADERS.split(", ")}
    names = dict.fromkeys(name.strip(" \t") for name in value.split(","))
    return [name for name in names if _FIELD_NAME.fullmatch(name) and name.lower() not in known]
