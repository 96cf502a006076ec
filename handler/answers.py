"""How answers look: JSON for programs, problem details for errors (RFC 9457), a page for a form without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response, current_app, render_template, request, url_for
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header

from . import problems
from .problems import Problem

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"
MAX_ACCEPT_CHARS = 1024
"""The longest ``Accept`` that is read. Werkzeug takes quadratic time over blanks. Browsers send 150 characters."""


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
    """The problem in the form that the client can take: problem details unless it asks for plain JSON or a page."""
    body = {**problem.as_dict(), "request_id": request_id}
    headers = {**problem.headers, **(headers or {})}
    accepted = _accepted()
    if accepted == HTML:
        return Response(render_template("problem.html", **body), problem.status, headers, mimetype=HTML)
    return Response(_dump(body), problem.status, headers, mimetype=accepted)


def problem_of(error: HTTPException, *, max_content_length: int) -> Problem:
    """Werkzeug's error as one of ours."""
    match error.code:
        case 404:
            return problems.NotFound("There is nothing at this address. The upload endpoint is /upload.")
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
            return problems.MethodNotAllowed(f"{request.method} is not allowed here. Allowed are: {allowed}.")
        case 413:
            return request_too_large(max_content_length)
        case 416:
            return problems.RangeNotSatisfiable("The file is shorter than that.")
        case code if code is not None and code < 500:
            return problems.MalformedRequest("The request was cut off or is not valid HTTP. Send it again.")
        case _:
            return problems.InternalError()


def request_too_large(max_content_length: int) -> Problem:
    detail = f"The request is larger than one may be: {max_content_length:,} bytes."
    url = direct_url()
    if url is None:
        return problems.RequestTooLarge(detail, max_bytes=max_content_length)
    detail += " Send a larger file straight to the storage: begin with POST /upload/s3/multipart."
    return problems.RequestTooLarge(detail, max_bytes=max_content_length, direct_url=url)


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


def _dump(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False) + "\n"
