"""The route of the HTTP contract. It returns the file ``handler/openapi.json`` unchanged."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, request

from ..web import responses

blueprint = Blueprint("openapi", __name__)

CONTRACT = Path(__file__).parents[1] / "openapi.json"


@blueprint.get("/openapi.json")
def contract() -> Response:
    """Return the contract, or 304 if the client has it already."""
    body, etag = _read()
    is_known = request.if_none_match.contains_weak(etag)
    response = responses.nothing(status=304) if is_known else Response(body, mimetype=responses.JSON)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"  # clients may keep it, and must ask again with the ETag
    return response


@cache
def _read() -> tuple[bytes, str]:
    """Read the file and make its ETag, at the first request: no cold start waits for it."""
    body = CONTRACT.read_bytes()
    return body, hashlib.sha256(body).hexdigest()
