"""Which web sites' scripts may read our answers: CORS (WHATWG Fetch, "CORS protocol").

Written here and not taken from flask-cors (6.0): that takes any origin with a special character for a regular
expression, sends the whole list to requests that name no origin, and by default allows all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Response, request

METHODS = "GET, HEAD, POST, PUT, DELETE"
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Digest, Content-MD5, Content-Type, Range, Repr-Digest, X-Requested-With"
)
"""The fields that upload widgets and our own clients send. Cache-Control and X-Requested-With are Dropzone's."""
RESPONSE_HEADERS = (
    "Content-Disposition, ETag, Location, Retry-After, WWW-Authenticate, X-Amzn-Remapped-WWW-Authenticate, X-Request-Id"
)
"""The one of Amazon's is what a REST API makes of the one before (AWS: "Amazon API Gateway important notes")."""
PREFLIGHT_SECONDS = 7200
"""The longest that Chromium keeps the answer to a preflight."""
MAX_REQUESTED_CHARS = 1024
"""The longest list of header fields that is read from a preflight."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110, section 5.6.2


def register(app: Flask, *, allowed_origins: Sequence[str]) -> None:
    """Add the header fields to every answer; without an allowed origin, none.

    :param allowed_origins: such as ``https://example.com``, or ``*`` for all.
    """
    if not allowed_origins:
        return

    def allow(response: Response) -> Response:
        origin = request.headers.get("Origin")
        response.vary.add("Origin")  # also where it was not allowed: a cache must not give that answer to one that is
        if origin is None or not {origin, "*"} & set(allowed_origins):
            return response
        if origin in allowed_origins and origin != "*":
            response.headers["Access-Control-Allow-Origin"] = origin
            # We set no cookies. But some clients always ask for credentials, and a cookie of the site's, or of a proxy
            # before us, may come along; without this field the browser keeps the answer from them.
            response.headers["Access-Control-Allow-Credentials"] = "true"
        else:
            response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            requested = requested_headers(request.headers.get("Access-Control-Request-Headers", ""))
            response.vary.add("Access-Control-Request-Headers")
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = ", ".join([REQUEST_HEADERS, *requested])
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response

    app.after_request(allow)


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
