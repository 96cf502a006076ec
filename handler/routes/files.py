"""The routes under ``/files``: they return and delete stored files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_file
from werkzeug.http import http_date, parse_date

from ..problems import Forbidden, NotFound, PreconditionFailed
from ..storage import StoredFile
from ..web import responses
from ..web.access import DELETE
from ..web.grants import bearer_token, current_grant
from ..web.services import current_services

CODE_DESTINATIONS = frozenset(
    ("audioworklet", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker", "xslt")
)
"""The values of ``Sec-Fetch-Dest`` with which a browser loads code (W3C: "Fetch Metadata Request Headers")."""

blueprint = Blueprint("files", __name__)
downloads = Blueprint("downloads", __name__)
"""The route of downloads, for endpoints whose files can be read here."""


@downloads.get("/files/<file_id>/<name>")
@downloads.get("/files/<folder>/<file_id>/<name>")
def download(file_id: str, name: str, folder: str | None = None) -> Response:
    """Return the file as an attachment, or redirect to S3. Anyone who knows the URL may read the file.

    :param file_id: the id of the file.
    :param name: the safe name of the file.
    :param folder: the folder of the file, if the file is in one.
    :raises Forbidden: a page loads the file as code. S3 sends no ``nosniff``, without which browsers run a text file.
    :raises NotFound: no such file is stored.
    :raises PreconditionFailed: ``If-Match`` or ``If-Unmodified-Since`` names another state of the file.
    """
    if request.headers.get("Sec-Fetch-Dest", "").lower() in CODE_DESTINATIONS:
        raise Forbidden("A stored file cannot be loaded as a script or a style sheet. Link to it, or fetch it.")
    storage = current_services().storage
    file = storage.find(file_id, name, folder)
    if file is None:
        raise _no_file()
    location = storage.download(file, head=request.method == "HEAD")
    if not isinstance(location, Path):
        return Response(status=302, headers={"Location": location})
    return _send(file, location)


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
        raise PreconditionFailed("The file is not the one that If-Match or If-Unmodified-Since names.")
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
