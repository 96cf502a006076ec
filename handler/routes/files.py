"""The routes under ``/files``: they list, return and delete stored files."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_file
from werkzeug.http import http_date, parse_date

from ..problems import FileExpired, Forbidden, MalformedRequest, NotFound, PreconditionFailed
from ..storage import MAX_PAGE_FILES, StoredFile
from ..web import responses
from ..web.access import DELETE, LIST
from ..web.grants import bearer_token, current_grant
from ..web.services import current_services

CODE_DESTINATIONS = frozenset(
    ("audioworklet", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker", "xslt")
)
"""The values of ``Sec-Fetch-Dest`` with which a browser loads code (W3C: "Fetch Metadata Request Headers")."""

PAGE_FILES = 100
"""How many files a page of a list has if the client does not ask for a number."""
MAX_CURSOR_CHARS = 1200
"""The longest cursor, which holds 900 bytes. S3's keys have at most 1,024 bytes, and ours less than 240."""

_LIMIT = re.compile("[0-9]{1,4}")

blueprint = Blueprint("files", __name__)
downloads = Blueprint("downloads", __name__)
"""The route of downloads, for endpoints whose files can be read here."""


@blueprint.get("/files")
def list_files() -> Response:
    """Return a page of the list of stored files: those in the folder of the client's token, or all.

    :raises Problem: the client may not list files.
    :raises MalformedRequest: ``limit`` or ``cursor`` is invalid.
    """
    grant = current_grant(bearer_token(request))
    grant.require(LIST)
    limit, position = _limit(request.args.get("limit", "")), _position(request.args.get("cursor", ""))
    page = current_services().storage.list_files(grant.folder, after=position, limit=limit)
    body: dict[str, Any] = {"files": [responses.listed_entry(file) for file in page.files]}
    if page.position is not None:
        body["cursor"] = _cursor(page.position)
    return responses.success(body)


def _limit(value: str) -> int:
    """:raises MalformedRequest: the value is not a number from 1 to :data:`~handler.storage.MAX_PAGE_FILES`."""
    if not value:
        return PAGE_FILES
    if not (_LIMIT.fullmatch(value) and 1 <= int(value) <= MAX_PAGE_FILES):
        raise MalformedRequest(f"'limit' is not a number from 1 to {MAX_PAGE_FILES}. Send such a number, or none.")
    return int(value)


def _cursor(position: str) -> str:
    """Return the position of a page as text for a query."""
    return base64.urlsafe_b64encode(position.encode()).decode("ascii").rstrip("=")


def _position(cursor: str) -> str:
    """Return the position in a cursor; empty without a cursor.

    A cursor needs no signature. It only moves the start of the page, and never leaves the folder of the client.

    :raises MalformedRequest: :func:`_cursor` did not make the cursor.
    """
    try:
        if len(cursor) > MAX_CURSOR_CHARS:
            raise ValueError("too long")
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = data.decode()
        if not position.isprintable():  # a key of ours has no such characters, and S3's XML cannot hold all of them
            raise ValueError("not printable")
        return position
    except ValueError:
        raise MalformedRequest("'cursor' is not the cursor of a page. Send it as the page had it, or none.") from None


@downloads.get("/files/<file_id>/<name>")
@downloads.get("/files/<folder>/<file_id>/<name>")
def download(file_id: str, name: str, folder: str | None = None) -> Response:
    """Return the file, or redirect to S3. Anyone who knows the URL may read the file.

    The file is an attachment, unless ``INLINE_EXTENSIONS`` names its extension.

    :param file_id: the id of the file.
    :param name: the safe name of the file.
    :param folder: the folder of the file, if the file is in one.
    :raises Forbidden: a page loads the file as code. S3 sends no ``nosniff``, without which browsers run a text file.
    :raises NotFound: no such file is stored.
    :raises FileExpired: the file has expired.
    :raises PreconditionFailed: ``If-Match`` or ``If-Unmodified-Since`` names another state of the file.
    """
    if request.headers.get("Sec-Fetch-Dest", "").lower() in CODE_DESTINATIONS:
        raise Forbidden("A stored file cannot be loaded as a script or a style sheet. Link to it, or fetch it.")
    storage = current_services().storage
    file = storage.find(file_id, name, folder)
    if file is None:
        raise _no_file()
    if file.is_expired:
        raise FileExpired()
    inline = _is_inline(file)
    location = storage.download(file, head=request.method == "HEAD", inline=inline)
    if isinstance(location, Path):
        response = _send(file, location)
    else:
        response = Response(status=302, headers={"Location": location})
    return _shown(response, file) if inline else response


@blueprint.delete("/files/<file_id>/<name>")
@blueprint.delete("/files/<folder>/<file_id>/<name>")
def delete(file_id: str, name: str, folder: str | None = None) -> Response:
    """Delete the file.

    :param file_id: the id of the file.
    :param name: the safe name of the file.
    :param folder: the folder of the file, if the file is in one.
    :raises Problem: the client may not delete files, or may not delete files of this folder.
    :raises NotFound: no such file is stored.
    """
    grant = current_grant(bearer_token(request))
    grant.require(DELETE)
    grant.require_folder(folder)
    if not current_services().storage.delete(file_id, name, folder):
        raise _no_file()
    return responses.nothing()


def _is_inline(file: StoredFile) -> bool:
    """Return whether browsers may show the file: its extension is in ``INLINE_EXTENSIONS``, and it was checked as that
    type. The declared type of an earlier configuration could have the same extension."""
    file_type = current_services().settings.inline_types.get(file.name.rpartition(".")[2])
    return file_type is not None and file_type.media_type == file.media_type


def _shown(response: Response, file: StoredFile) -> Response:
    """Add the header fields with which a browser shows the file, in a tab or in a page of an allowed site.

    No script runs: the sandbox forbids scripts, and none of the types is a page. Chromium plays sound and video in a
    tab only if their document may load them, and has the origin of their URL.
    """
    is_played = file.media_type.startswith(("audio/", "video/"))
    framing = " ".join(("'self'", *current_services().settings.allowed_origins))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors {framing}; "
        f"sandbox{' allow-same-origin' if is_played else ''}"
    )
    # A page with Cross-Origin-Embedder-Policy loads nothing from another origin without this field.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if response.status_code != 302:
        response.headers["Content-Disposition"] = file.inline_disposition
    return response


def _send(file: StoredFile, path: Path) -> Response:
    """Return the file as an attachment, or the part of it that ``Range`` asks for.

    :param path: the place of the file on this machine.
    :raises NotFound: the file was deleted meanwhile.
    :raises PreconditionFailed: ``If-Match`` or ``If-Unmodified-Since`` names another state of the file.
    """
    _drop_meaningless_fields(request.environ)
    not_after = _unmodified_since()
    if request.if_match.star_tag:  # "*" matches any file (RFC 9110, section 13.1.1). Werkzeug looks for the ETag "*".
        del request.environ["HTTP_IF_MATCH"]
    try:
        response = send_file(path, mimetype=file.media_type, conditional=True, etag=file.sha256 or file.id)
    except FileNotFoundError:
        raise _no_file() from None
    # Werkzeug ignores If-Unmodified-Since, and sends the whole file along with a 412.
    is_newer = not_after and response.last_modified and response.last_modified > not_after
    if response.status_code == 412 or is_newer:
        response.close()
        raise PreconditionFailed(
            "The file is not the one that If-Match or If-Unmodified-Since names. Download it again without them."
        )
    response.headers["Content-Disposition"] = file.content_disposition
    # Flask sends "no-cache", which lets caches keep the file. Conditional requests still get 304.
    response.headers["Cache-Control"] = "no-store"
    return response


def _unmodified_since() -> datetime | None:
    """Return the date in ``If-Unmodified-Since``; ``None`` if the field must be ignored.

    It is ignored next to ``If-Match``, and if it does not hold a valid date (RFC 9110, section 13.1.4). The date must
    survive a round trip: a lenient parser also accepts a year of one digit, and returns another year.
    """
    date = request.if_unmodified_since
    if date is None or "If-Match" in request.headers or http_date(date) != request.headers["If-Unmodified-Since"]:
        return None
    return date


def _drop_meaningless_fields(environ: dict[str, Any]) -> None:
    """Drop header fields that must be ignored, where Werkzeug returns 416 or fails."""
    # RFC 9110, section 14.2: a server ignores units that it does not know. Several ranges are not served either.
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


def _no_file() -> NotFound:
    return NotFound("This file does not exist. It may have been deleted.")
