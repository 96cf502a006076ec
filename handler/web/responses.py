"""The shape of responses: JSON for programs, problem details for errors (RFC 9457), a page for a form without
scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Response, render_template, request, url_for
from flask.globals import request_ctx
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from .. import entries, problems
from . import forms
from .client_dialect import UPLOAD_ROUTES, requested_dialect
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.exceptions import HTTPException

    from ..problems import Problem
    from ..storage import ListedFile, StoredFile
    from .dialects import Reply

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"
TEXT = "text/plain"
MAX_ACCEPT_CHARS = 1024
"""The longest ``Accept`` that is read. Werkzeug takes quadratic time over blanks. Browsers send 150 characters."""


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def success(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None, page: str | None = None
) -> Response:
    """Return a body as JSON.

    :param page: the template of a page that shows the same body. It is used where the client prefers HTML.
    """
    if page and _accepted_type() == HTML:
        return Response(render_template(page, **body), status, headers, mimetype=HTML)
    return Response(_dump(body), status, headers, mimetype=JSON)


def nothing(*, status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response without a body, and therefore without a ``Content-Type``."""
    response = Response(status=status, headers=headers)
    response.headers.remove("Content-Type")
    return response


def failure(problem: Problem, *, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem in the form that the client reads: its dialect, a page, problem details or plain JSON."""
    body = {**problem.as_dict(), "request_id": request_id}
    headers = {**problem.headers, **(headers or {})}
    if dialect := requested_dialect():
        return in_dialect(dialect.refused(body), headers=headers)
    media_type = _accepted_type()
    if media_type != HTML:
        return Response(_dump(body), problem.status, headers, mimetype=media_type)
    # A page has links. No URL can be made from a Host that is not a host name, such as "a..b".
    if request_ctx.url_adapter is None:
        return Response(_dump(body), problem.status, headers, mimetype=PROBLEM_JSON)
    return Response(render_template("problem.html", **body), problem.status, headers, mimetype=HTML)


def in_dialect(reply: Reply, *, headers: Mapping[str, str]) -> Response:
    """Return the reply of a dialect as a response."""
    if isinstance(reply.body, str):
        return Response(reply.body, reply.status, headers, mimetype=TEXT)
    return Response(_dump(reply.body), reply.status, headers, mimetype=JSON)


def file_entry(file: StoredFile) -> dict[str, Any]:
    """Return the description of a stored file that clients receive. Without downloads, the file has no URL.

    With a ``TOKEN_SECRET``, the description has a receipt, which a back end can verify.
    """
    entry = webhook_entry(file)
    receipts = current_services().receipts
    return entry | ({"receipt": receipts.make(entry)} if receipts else {})


def webhook_entry(file: StoredFile) -> dict[str, Any]:
    """Return the description of a stored file that the webhook sends: the one in the response, without its receipt.

    Every file is stored while a request lasts. So the URL is the one that the client of that request receives.
    """
    return entries.file_entry(file, url=file_url(file))


def listed_entry(file: ListedFile) -> dict[str, Any]:
    """Return the description of a file in a list. Without downloads, the file has no URL."""
    return entries.listed_entry(file, url=file_url(file))


def file_url(file: StoredFile | ListedFile) -> str | None:
    """Return the URL of a stored file; ``None`` without downloads."""
    if not current_services().settings.downloads:
        return None
    folder = {} if file.folder is None else {"folder": file.folder}
    return url_for("downloads.download", file_id=file.id, name=file.name, **folder, _external=True)


def direct_url() -> str | None:
    """Return the URL at which an upload straight to the storage begins; ``None`` where there is no such way."""
    return url_for("direct.begin", _external=True) if current_services().settings.takes_direct_uploads else None


def problem_of(error: HTTPException, *, max_file_bytes: int) -> Problem:
    """Return an error of Werkzeug's as a problem of ours.

    :param max_file_bytes: the largest file of this client, in bytes.
    """
    match error.code:
        case 404:
            return problems.NotFound("There is nothing at this address. The upload endpoint is /upload.")
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
            return problems.MethodNotAllowed(f"{request.method} is not allowed here. Allowed are: {allowed}.")
        case 413:
            return request_too_large(max_file_bytes=max_file_bytes)
        case 416:
            return problems.RangeNotSatisfiable("The file is shorter than the range. Ask for a range within the file.")
        case code if code is not None and code < 500:
            return problems.MalformedRequest("The request was cut off or is not valid HTTP. Send it again.")
        case _:
            return problems.InternalError()


def request_too_large(*, max_file_bytes: int) -> Problem:
    """Return the problem with a request over the limit. It names the limit that matters to this client.

    :param max_file_bytes: the largest file of this client, in bytes.
    """
    max_request_bytes = current_services().settings.max_content_length
    is_form = request.mimetype == forms.MEDIA_TYPE
    takes_file_as_body = request.blueprint == UPLOAD_ROUTES and not is_form
    if takes_file_as_body and (request.content_length or max_request_bytes + 1) > max_file_bytes:
        return problems.FileTooLarge(
            f"The file is larger than a file may be: {max_file_bytes:,} bytes. Send a smaller file.",
            max_bytes=max_file_bytes,
        )
    max_bytes_in_request = max(0, max_request_bytes - (forms.ONE_FILE_OVERHEAD_BYTES if is_form else 0))
    if max_file_bytes > max_bytes_in_request and (url := direct_url()):
        return problems.RequestTooLarge(
            f"The request is larger than {max_request_bytes:,} bytes. Files of up to {max_file_bytes:,} bytes go "
            "straight to the storage: begin with POST /upload/s3/multipart.",
            max_bytes=max_request_bytes,
            direct_url=url,
        )
    limit = min(max_file_bytes, max_bytes_in_request)
    return problems.RequestTooLarge(
        f"The request is too large: a file may have {limit:,} bytes. Send a smaller file, or fewer files at once.",
        max_bytes=limit,
    )


def _accepted_type() -> str:
    """Return the media type of a response, according to ``Accept``.

    ``*/*`` and an ``Accept`` without our types get problem details. An ``Accept`` of more than
    :data:`MAX_ACCEPT_CHARS` characters counts as ``*/*``.
    """
    field = request.headers.get("Accept", "")
    if field in ("", "*/*"):  # most programs send these, and parsing takes a fiftieth of a small upload
        return PROBLEM_JSON
    accept = parse_accept_header(field if len(field) <= MAX_ACCEPT_CHARS else "*/*", MIMEAccept)
    if accept[HTML] > max(accept[JSON], accept[PROBLEM_JSON]):
        return HTML
    # "application/json" without a wildcard asks for exactly that type.
    return JSON if accept[JSON] > accept[PROBLEM_JSON] else PROBLEM_JSON


def _dump(body: object) -> str:
    return _ENCODER.encode(body) + "\n"
