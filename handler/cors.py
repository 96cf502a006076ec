"""Which web sites' scripts may read our answers: CORS (WHATWG Fetch, "CORS protocol").

Written here and not taken from flask-cors (6.0): that takes any origin with a special character for a regular
expression, sends the whole list to requests that name no origin, and by default allows all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, request

METHODS = "GET, HEAD, POST, PUT, DELETE"
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Digest, Content-MD5, Content-Type, Range, Repr-Digest, X-Requested-With"
)
"""What upload widgets and our own clients send. Cache-Control and X-Requested-With are Dropzone's."""
RESPONSE_HEADERS = (
    "Content-Disposition, ETag, Location, Retry-After, WWW-Authenticate, X-Amzn-Remapped-WWW-Authenticate, X-Request-Id"
)
"""The one of Amazon's is what a REST API makes of the one before (AWS: "Amazon API Gateway important notes")."""
PREFLIGHT_SECONDS = 7200
"""The longest that Chromium keeps the answer to a preflight."""


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
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed_origins else origin
        response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response

    app.after_request(allow)
