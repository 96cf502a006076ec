"""The hooks around every request: they add a request id, security headers, and one line in the log."""

from __future__ import annotations

import re
import string
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from ..logs import logger
from ..problems import TYPE_PREFIX, AccessNotConfigured, InternalError, Problem, StorageUnavailable, TypeNotAllowed
from ..storage import is_key
from ..storage.deadline import REQUEST_SECONDS, deadline
from . import limits, responses
from .client_dialect import RESUMABLE_ROUTES, UPLOAD_ROUTES
from .security_headers import security_headers
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..storage import StoredFile

REFUSAL = "handler.refusal"
"""The key in the WSGI environment for the problem with a request that a server could not read. The hooks treat such a
request like any other. Clients cannot set the key: their header fields are under ``HTTP_…``."""
SEND_INTERIM = "handler.send_interim"
"""The key in the WSGI environment for a callable that sends an interim response (RFC 9110, section 15.2), such as 104.

It takes the status and a list of header fields. It sends nothing after the final response has begun. Only a server that
can send such responses sets the key, and only for a client of HTTP/1.1."""

MAX_LOGGED_REASONS = 5
"""How many refused types of one request are logged."""
MAX_LOGGED_ORIGIN_CHARS = 200
"""How much of a refused origin is logged. A host name has up to 253 characters, and most have less than 50."""
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}")


PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of our own pages without scripts."""


def register(app: Flask) -> None:
    """Add the hooks to an app."""
    app.before_request(_begin)
    app.teardown_request(_end_deadline)
    app.after_request(_end)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _fault)


def _begin() -> None:
    """Give the request its id, and refuse it early where that is possible.

    :raises Problem: the server could not read the request, or requests from there are not accepted.
    """
    g.began = time.monotonic()
    # The gateway passes Lambda's request id here. CloudWatch lists everything else about the request under that id.
    g.request_id = request.environ.get("UNIQUE_ID") or str(uuid.uuid4())
    _encode_query()
    if REFUSAL in request.environ:
        raise request.environ[REFUSAL]
    services = current_services()
    services.access.check_request(request)
    if services.settings.on_lambda:
        _set_deadline()


def _encode_query() -> None:
    """Percent-encode a query that the client sent as raw bytes (RFC 3986, section 2.1). Werkzeug fails at bytes that
    are not UTF-8."""
    if not request.query_string.isascii():
        request.query_string = quote_from_bytes(request.query_string, safe=string.punctuation).encode()


def _set_deadline() -> None:
    """Set the deadline of the request, because a gateway waits for the response."""
    g.deadline = ExitStack()
    g.deadline.enter_context(deadline(seconds=REQUEST_SECONDS))


def _end_deadline(_error: BaseException | None) -> None:
    if "deadline" in g:
        g.deadline.close()


def _problem(problem: Problem) -> Response:
    """Return the response to a problem, and log faults of the deployment."""
    g.problem = problem
    if isinstance(problem, AccessNotConfigured):
        logger.error("neither TOKEN_SECRET nor ACCESS=public is set, so every upload is refused")
    if isinstance(problem, StorageUnavailable):
        logger.error("storage unavailable", extra={"request_id": g.request_id, "reason": problem.reason})
    return responses.failure(problem, request_id=g.request_id)


def _http_exception(error: HTTPException) -> Response | HTTPException:
    """Return the response to an error of Werkzeug's. Redirects are exceptions too, and stay as they are."""
    if error.code is None or error.code < 400:
        return error
    policy = limits.policy_of(g.grant) if "grant" in g else current_services().policy
    g.problem = responses.problem_of(error, max_file_bytes=policy.max_file_bytes)
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Content-Range")}
    return responses.failure(g.problem, request_id=g.request_id, headers=kept)


def _fault(_error: Exception) -> Response:
    """Return the response to an exception that nothing else handles, and log its traceback."""
    logger.exception("fault", extra={"request_id": g.request_id})
    return _problem(InternalError())


def _end(response: Response) -> Response:
    """Add the header fields that every response has, and log the request."""
    response.headers["X-Request-Id"] = g.request_id
    # Our own pages load a style and an icon. The upload page also has scripts, and sets a policy of its own.
    if response.mimetype == responses.HTML and request.blueprint != "downloads":
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    if response.status_code == 413 and request.blueprint in (UPLOAD_ROUTES, RESUMABLE_ROUTES):
        max_bytes = limits.max_bytes_in_pieces()
        response.headers.setdefault("Upload-Limit", limits.upload_limit(max_bytes))
        response.headers.setdefault("Tus-Max-Size", str(max_bytes))
    given = {name.lower() for name, _ in response.headers}  # asking Headers for a missing field takes longer
    for name, value in security_headers(over_tls=request.is_secure):
        if name.lower() not in given:
            response.headers.add(name, value)
    _log(response)
    return response


def _log(response: Response) -> None:
    problem: Problem | None = g.get("problem")
    logger.info(
        "request",
        extra={
            "request_id": g.request_id,
            "method": request.method,
            "route": str(request.url_rule) if request.url_rule else None,  # never the path, which may hold a token
            "status": response.status_code,
            "milliseconds": round((time.monotonic() - g.began) * 1000, 1),
            "request_bytes": request.content_length,
            "subject": g.get("subject"),
            "files": _files(),
            "problem": problem.type if problem else None,
            "reason": "; ".join(_reasons(problem)) or None,
        },
    )


def _reasons(problem: Problem | None) -> Iterator[str]:
    """Yield the setting, or the claim of a token, that refused something. The log names it for the owner of the
    endpoint. Clients are not given the names of settings, and the log never holds the name of a file."""
    if problem and (reasons := _refused_types(problem)):
        yield f"{TypeNotAllowed.status}: {', '.join(reasons)}"
    if reason := origin_refusal():
        yield reason


def origin_refusal() -> str | None:
    """Return why the scripts of another web site cannot read the response to this request, if that is so."""
    origin = g.get("refused_origin")
    return f"the origin {origin[:MAX_LOGGED_ORIGIN_CHARS]!a} is not in ALLOWED_ORIGINS" if origin else None


def _refused_types(problem: Problem) -> list[str]:
    """Return the reasons why types of files were refused, each once."""
    refused = [
        error for error in problem.errors if error["type"] == TYPE_PREFIX + TypeNotAllowed.slug and "allowed" in error
    ]
    return list(dict.fromkeys(_refused_type(error["name"]) for error in refused[:MAX_LOGGED_REASONS]))


def _refused_type(file_name: str) -> str:
    """Return the reason why the type of a file was refused."""
    _, dot, extension = file_name.lower().rpartition(".")
    if not (dot and _EXTENSION.fullmatch(extension)):
        return "a name without an extension is refused"  # any other text after the last dot may be a part of the name
    if extension in current_services().policy.file_types:
        return f".{extension} is not in the token's 'extensions'"
    return f".{extension} is not in ALLOWED_EXTENSIONS"


def _files() -> list[dict[str, Any]]:
    """Return the files that the request stored, or the file that its URL names; never their names."""
    arguments = request.view_args or {}
    if is_key(
        arguments.get("file_id", ""), arguments.get("name", ""), arguments.get("folder")
    ):  # other text in the URL is not an id of ours
        return [{"id": arguments["file_id"]}]
    stored: list[StoredFile] = g.get("stored", [])
    return [{"id": file.id, "size": file.size, "type": file.media_type} for file in stored]
