"""What every answer has, whatever happened: a request id, safe headers, one log line."""

from __future__ import annotations

import re
import string
import time
import uuid
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote_from_bytes

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from ..intake import Intake
from ..logs import logger
from ..problems import TYPE_PREFIX, AccessNotConfigured, InternalError, Problem, StorageUnavailable, TypeNotAllowed
from ..storage import StoredFile, is_key
from ..storage.deadline import REQUEST_SECONDS, deadline
from . import responses
from .access import Access
from .security_headers import security_headers

REFUSAL = "handler.refusal"
"""Where in the WSGI environment a server puts the problem with a request that it could not read, to be answered here as
all others are. No client can put anything there: what it sends is under ``HTTP_…``."""

MAX_LOGGED_REASONS = 5
"""How many refused types of one request the log names."""
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}")


PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def register(app: Flask) -> None:
    app.before_request(_begin)
    app.before_request(_set_deadline)
    app.teardown_request(_end_deadline)
    app.after_request(_end)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _fault)


def _begin() -> None:
    g.began = time.monotonic()
    # The gateway puts Lambda's request id there, under which CloudWatch has everything else of this request.
    g.request_id = request.environ.get("UNIQUE_ID") or str(uuid.uuid4())
    if not request.query_string.isascii():
        # As the client should have sent it (RFC 3986, section 2.1). Werkzeug fails at bytes that are not UTF-8.
        request.query_string = quote_from_bytes(request.query_string, safe=string.punctuation).encode()
    if REFUSAL in request.environ:
        raise request.environ[REFUSAL]
    access: Access = current_app.extensions["access"]
    access.check_request(request)


def _set_deadline() -> None:
    """Set the deadline of the request, where a gateway waits for the response."""
    if current_app.config["GATEWAY_WAITS"]:
        g.deadline = ExitStack()
        g.deadline.enter_context(deadline(seconds=REQUEST_SECONDS))


def _end_deadline(_error: BaseException | None) -> None:
    if "deadline" in g:
        g.deadline.close()


def _problem(problem: Problem) -> Response:
    g.problem = problem
    if isinstance(problem, AccessNotConfigured):
        logger.error("neither TOKEN_SECRET nor ACCESS=public is set, so every upload is refused")
    if isinstance(problem, StorageUnavailable):
        logger.error("storage unavailable", extra={"request_id": g.request_id, "reason": problem.reason})
    return responses.failure(problem, request_id=g.request_id)


def _http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:  # a redirect of the router's is an HTTPException too
        return error
    intake: Intake = current_app.extensions["intake"]
    problem = responses.problem_of(
        error,
        max_content_length=current_app.config["MAX_CONTENT_LENGTH"],
        max_file_bytes=g.get("max_file_bytes", intake.policy.max_file_bytes),
    )
    g.problem = problem
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Content-Range")}
    return responses.failure(problem, request_id=g.request_id, headers=kept)


def _fault(_error: Exception) -> Response:
    logger.exception("fault", extra={"request_id": g.request_id})
    return _problem(InternalError())


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    # Our own pages have styles and an icon. The one with scripts has a policy of its own, and brings it.
    if response.mimetype == responses.HTML and request.endpoint != "files.download":
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    for name, value in security_headers(over_tls=request.is_secure):
        response.headers.setdefault(name, value)
    _log(response)
    return response


def _log(response: Response) -> None:
    problem: Problem | None = g.get("problem")
    logger.info(
        "request",
        extra={
            "request_id": g.request_id,
            "method": request.method,
            "route": str(request.url_rule) if request.url_rule else None,  # never the path: it may hold a token
            "status": response.status_code,
            "milliseconds": round((time.monotonic() - g.began) * 1000, 1),
            "request_bytes": request.content_length,
            "subject": g.get("subject"),
            "files": _files(),
            "problem": problem.type if problem else None,
            "reason": _reason(problem) if problem else None,
        },
    )


def _reason(problem: Problem) -> str | None:
    """Return which setting, or which claim of a token, refused a type of file. The log has it for the owner of the
    endpoint, and never a file's name; a client is not told about settings."""
    refused = [
        error for error in problem.errors if error["type"] == TYPE_PREFIX + TypeNotAllowed.slug and "allowed" in error
    ]
    intake: Intake = current_app.extensions["intake"]
    reasons: dict[str, None] = {}
    for error in refused[:MAX_LOGGED_REASONS]:
        _, dot, extension = error["name"].lower().rpartition(".")
        if not (dot and _EXTENSION.fullmatch(extension)):
            # Anything else after the last dot may be a part of the name.
            reasons["a name without an extension is refused"] = None
        elif extension in intake.policy.file_types:
            reasons[f".{extension} is not in the token's 'extensions'"] = None
        else:
            reasons[f".{extension} is not in ALLOWED_EXTENSIONS"] = None
    return f"{TypeNotAllowed.status}: {', '.join(reasons)}" if reasons else None


def _files() -> list[dict[str, Any]]:
    """The files that the request was about: those that it stored, or the one that its URL names. Never their names."""
    named = request.view_args or {}
    if is_key(named.get("file_id", ""), named.get("name", "")):  # else it is no id of ours, but whatever a client wrote
        return [{"id": named["file_id"]}]
    stored: list[StoredFile] = g.get("stored", [])
    return [{"id": file.id, "size": file.size, "type": file.media_type} for file in stored]
