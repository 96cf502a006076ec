"""The route of the HTTP contract: ``openapi.json``, beside this module, as it is."""

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
    """The contract, which a client that kept it need not be sent again."""
    body, etag = _read()
    known = request.if_none_match.contains_weak(etag)
    response = Response(status=304) if known else Response(body, mimetype=responses.JSON)
    if known:
        response.headers.remove("Content-Type")  # of nothing
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"  # that is: to be asked for again, with the ETag
    return response


@cache
def _read() -> tuple[bytes, str]:
    """The file and its ETag, read at the first use: no cold start waits for it."""
    body = CONTRACT.read_bytes()
    return body, hashlib.sha256(body).hexdigest()
