"""How answers look: JSON for programs, problem details for errors (RFC 9457), a page for a form without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, render_template, request, url_for
from flask.globals import request_ctx
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header

from .. import problems
from ..problems import Problem
from . import forms

if TYPE_CHECKING:
    from .dialects import Dialect, Reply

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"
MAX_ACCEPT_CHARS = 1024
"""The longest ``Accept`` that is read. Werkzeug takes quadratic time over blanks. Browsers send 150 characters."""
TEXT = "text/plain"
FILE_ENDPOINTS = ("upload.form", "upload.body")
"""The views that take a file as the body of the request."""


def success(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None, page: str | None = None
) -> Response:
    """What was asked for, as JSON.

    :param page: the template of a page that says the same, for whom would rather have a page.
    """
    if page and _accepted() == HTML:
        return Response(render_template(page, **body), status, headers, mimetype=HTML)
    return Response(_dump(body), status, headers, mimetype=JSON)


def nothing(*, status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body, and so without a type of one."""
    response = Response(status=status, headers=headers)
    response.headers.remove("Content-Type")
    return response


def failure(problem: Problem, *, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem in a form that the client reads: in its dialect, as a page, or as problem details or plain
    JSON."""
    body = {**problem.as_dict(), "request_id": request_id}
    headers = {**problem.headers, **(headers or {})}
    if dialect := requested_dialect():
        return in_dialect(dialect.refused(body), headers=headers)
    accepted = _accepted()
    if accepted == HTML:
        # A page has links. No URL can be made of a Host that is not a host name, such as "a..b".
        if request_ctx.url_adapter is not None:
            return Response(render_template("problem.html", **body), problem.status, headers, mimetype=HTML)
        accepted = PROBLEM_JSON
    return Response(_dump(body), problem.status, headers, mimetype=accepted)


def requested_dialect() -> Dialect | None:
    """Return the dialect that an upload asks for with ``?for=``; ``None`` for everything else."""
    name = request.args.get("for")
    if name is None or request.blueprint != "upload" or request.method not in ("POST", "PUT"):
        return None
    from . import dialects  # noqa: PLC0415  (most requests ask for none)

    return dialects.find(name)


def in_dialect(reply: Reply, *, headers: Mapping[str, str]) -> Response:
    """Return a reply as a response."""
    if isinstance(reply.body, str):
        return Response(reply.body, reply.status, headers, mimetype=TEXT)
    return Response(_dump(reply.body), reply.status, headers, mimetype=JSON)


def problem_of(error: HTTPException, *, max_content_length: int, max_file_bytes: int) -> Problem:
    """Return Werkzeug's error as one of ours.

    :param max_content_length: the limit of one request, in bytes.
    :param max_file_bytes: the limit of one file for this client, in bytes.
    """
    match error.code:
        case 404:
            return problems.NotFound("There is nothing at this address. The upload endpoint is /upload.")
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
            return problems.MethodNotAllowed(f"{request.method} is not allowed here. Allowed are: {allowed}.")
        case 413:
            return request_too_large(max_content_length=max_content_length, max_file_bytes=max_file_bytes)
        case 416:
            return problems.RangeNotSatisfiable("The file is shorter than that.")
        case code if code is not None and code < 500:
            return problems.MalformedRequest("The request was cut off or is not valid HTTP. Send it again.")
        case _:
            return problems.InternalError()


def request_too_large(*, max_content_length: int, max_file_bytes: int) -> Problem:
    """Return the problem with a request over the limit. It names the limit that matters to the client, and another way
    only if that takes larger files.

    :param max_content_length: the limit of one request, in bytes.
    :param max_file_bytes: the limit of one file for this client, in bytes.
    """
    is_form = request.mimetype == forms.MEDIA_TYPE
    at_once = max(0, max_content_length - (forms.AROUND_FILE_BYTES if is_form else 0))
    length = request.content_length
    if request.endpoint in FILE_ENDPOINTS and not is_form and (length or max_content_length + 1) > max_file_bytes:
        return problems.FileTooLarge(
            f"The file is larger than a file may be: {max_file_bytes:,} bytes.", max_bytes=max_file_bytes
        )
    if max_file_bytes > at_once and (url := direct_url()):
        return problems.RequestTooLarge(
            f"The request is larger than {max_content_length:,} bytes. Files of up to {max_file_bytes:,} bytes go "
            "straight to the storage: begin with POST /upload/s3/multipart.",
            max_bytes=max_content_length,
            direct_url=url,
        )
    limit = min(max_file_bytes, at_once)
    return problems.RequestTooLarge(
        f"The request is too large: a file may have {limit:,} bytes. Send a smaller file, or fewer files at once.",
        max_bytes=limit,
    )


def direct_url() -> str | None:
    """Where an upload straight to the storage begins; ``None`` if there is no such way in."""
    return url_for("direct.begin", _external=True) if "direct.begin" in current_app.view_functions else None


def _accepted() -> str:
    """Return the media type to answer with: JSON for ``*/*``, for an ``Accept`` without our types, and for one of more
    than :data:`MAX_ACCEPT_CHARS`, which counts as ``*/*``."""
    field = request.headers.get("Accept", "")
    accept = parse_accept_header(field if len(field) <= MAX_ACCEPT_CHARS else "*/*", MIMEAccept)
    if accept[HTML] > max(accept[JSON], accept[PROBLEM_JSON]):
        return HTML
    # "application/json" alone, without a wildcard, asks for just that.
    return JSON if accept[JSON] > accept[PROBLEM_JSON] else PROBLEM_JSON


def _dump(body: object) -> str:
    return json.dumps(body, ensure_ascii=False) + "\n"
