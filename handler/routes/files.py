"""The routes under ``/files``: stored files out, and away."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, send_file
from werkzeug.http import http_date, parse_date

from ..problems import Forbidden, NotFound, PreconditionFailed
from ..storage import Storage
from ..web import responses
from ..web.access import DELETE, bearer_token, current_grant

CODE_DESTINATIONS = frozenset(
    ("audioworklet", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker", "xslt")
)
"""The values of ``Sec-Fetch-Dest`` with which a browser loads code (W3C: "Fetch Metadata Request Headers")."""
DOWNLOAD = "files.download"
"""The endpoint of a download, for ``url_for``."""


def register(app: Flask, *, downloads: bool) -> None:
    """Add the routes.

    :param downloads: whether files can be read through this endpoint; if not, there is no route for it.
    """
    if downloads:
        app.add_url_rule("/files/<file_id>/<name>", DOWNLOAD, download)
    app.add_url_rule("/files/<file_id>/<name>", "files.delete", delete, methods=["DELETE"])


def download(file_id: str, name: str) -> Response:
    """The file, always as an attachment: from here, or by way of S3. Anyone who knows its URL may read it.

    :raises Forbidden: a page loads the file as code. S3 sends no ``nosniff``, without which browsers run a text file.
    """
    if request.headers.get("Sec-Fetch-Dest", "").lower() in CODE_DESTINATIONS:
        raise Forbidden("A stored file cannot be loaded as a script or a style sheet. Link to it, or fetch it.")
    storage = _storage()
    file = storage.find(file_id, name)
    if file is None:
        raise _no_file()
    where = storage.download(file, head=request.method == "HEAD")
    if not isinstance(where, Path):
        return Response(status=302, headers={"Location": where})
    _pass_over_what_has_no_meaning(request.environ)
    not_after = _unmodified_since()
    if request.if_match.star_tag:  # any will do (RFC 9110, section 13.1.1); Werkzeug looks for one with the ETag "*"
        del request.environ["HTTP_IF_MATCH"]
    try:
        response = send_file(where, mimetype=file.media_type, conditional=True, etag=file.sha256 or file.id)
    except FileNotFoundError:  # it was removed a moment ago
        raise _no_file() from None
    # Werkzeug knows no If-Unmodified-Since, and sends the whole file along with a 412.
    is_newer = not_after and response.last_modified and response.last_modified > not_after
    if response.status_code == 412 or is_newer:
        response.close()
        raise PreconditionFailed("The file is not the one that If-Match or If-Unmodified-Since names.")
    response.headers["Content-Disposition"] = file.content_disposition
    # Flask says "no-cache", under which caches keep the file. A conditional request still gets 304.
    response.headers["Cache-Control"] = "no-store"
    return response


def delete(file_id: str, name: str) -> Response:
    current_grant(bearer_token(request)).require(DELETE)
    if not _storage().delete(file_id, name):
        raise _no_file()
    return responses.nothing()


def _unmodified_since() -> datetime | None:
    """The date that ``If-Unmodified-Since`` names. It is to be ignored beside ``If-Match``, and where it is none (RFC
    9110, section 13.1.4): what a lenient parser makes of one, such as a year of one digit, is not what was meant."""
    date = request.if_unmodified_since
    if date is None or "If-Match" in request.headers or http_date(date) != request.headers["If-Unmodified-Since"]:
        return None
    return date


def _pass_over_what_has_no_meaning(environ: dict[str, Any]) -> None:
    """Drop header fields that are to be ignored, where Werkzeug answers 416 or fails instead."""
    # RFC 9110, section 14.2: another unit has no meaning here; nor have several ranges, which are not served.
    unit, _, ranges = environ.get("HTTP_RANGE", "").partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        environ.pop("HTTP_RANGE", None)
    # Sections 13.1.3 to 13.1.5: an invalid date is ignored. Werkzeug raises OverflowError for a year beyond a C int,
    # and for a date that is outside the years 1 to 9999 in UTC.
    for name in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE"):
        try:
            if date := parse_date(environ.get(name)):
                http_date(date)
        except OverflowError:
            del environ[name]


def _storage() -> Storage:
    storage: Storage = current_app.extensions["storage"]
    return storage


def _no_file() -> NotFound:
    return NotFound("There is no such file. It may have been removed.")
