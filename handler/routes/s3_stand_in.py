"""The routes at which a local server takes the bytes that S3 takes on AWS: parts, and forms with a whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flask import Blueprint, Response, request

from ..direct.promotion import Promotion
from ..logs import logger
from ..problems import MalformedRequest, NoFile, StorageUnavailable
from ..settings import FORM_OVERHEAD_BYTES
from ..storage.direct import MAX_PART_BYTES
from ..storage.folder.direct import RECEIVER, LocalDirectUploads
from ..web import forms, responses
from ..web.services import current_services

blueprint = Blueprint("s3_stand_in", __name__, url_prefix=f"/{RECEIVER}")


@blueprint.put("/<ticket>")
def take_part(ticket: str) -> Response:
    """Take a part, at a URL from ``GET …/multipart/<upload_id>/<part_number>``."""
    request.max_content_length = MAX_PART_BYTES
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        raise MalformedRequest("The request has no Content-Length. Send one.")
    uploads, _ = _services()
    return _taken(uploads.take_part(ticket, _chunks()), status=200)


@blueprint.post("")
def take_post() -> Response:
    """Take a form whose fields are from ``GET …/params``, with the file in its last part."""
    request.max_content_length = MAX_PART_BYTES + FORM_OVERHEAD_BYTES
    fields: dict[str, str] = {}
    for part, content in forms.parts(request.stream, forms.boundary_of(request.headers.get("Content-Type", ""))):
        if part.file_name is None:
            fields[part.name] = forms.text(content)
        elif part.name == "file":
            return _take_file(fields, content)
    raise NoFile("The form holds no file. Send a file in a part called 'file', after the other parts.")


def _take_file(fields: dict[str, str], content: Iterator[bytes]) -> Response:
    uploads, promotion = _services()
    file_id, etag = uploads.take_post(key=fields.get("key", ""), policy=fields.get("policy", ""), chunks=content)
    try:
        promotion.promote(file_id)  # on AWS, S3's event starts this; the response has no verdict
    except StorageUnavailable as error:  # the file has arrived all the same: a request for its status promotes it
        logger.error("storage unavailable", extra={"id": file_id, "reason": error.reason})
    return _taken(etag, status=204)


def _taken(etag: str, *, status: int) -> Response:
    return responses.nothing(status=status, headers={"ETag": f'"{etag}"'})


def _chunks() -> Iterator[bytes]:
    while data := request.stream.read(forms.READ_BYTES):
        yield data


def _services() -> tuple[LocalDirectUploads, Promotion]:
    services = current_services()
    return cast("LocalDirectUploads", services.direct_uploads), services.promotion
