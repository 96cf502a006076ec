"""The routes at which a local server takes what S3 takes on AWS: parts, and forms with a whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flask import Blueprint, Response, request

from ..logs import logger
from ..problems import MalformedRequest, NoFile, StorageUnavailable
from ..services import current_services
from ..settings import FORM_OVERHEAD_BYTES
from ..storage.direct import MAX_PART_BYTES
from ..storage.folder.direct import RECEIVER, LocalDirectUploads
from ..web import forms, responses

READ_BYTES = 256 * 1024


blueprint = Blueprint("s3_stand_in", __name__)


@blueprint.put(f"/{RECEIVER}/<ticket>")
def take_part(ticket: str) -> Response:
    """A part of an upload, at a URL that ``GET …/multipart/<upload_id>/<part_number>`` gave."""
    request.max_content_length = MAX_PART_BYTES
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        raise MalformedRequest("Send a Content-Length.")
    return _taken(_uploads().take_part(ticket, _chunks()), status=200)


@blueprint.post(f"/{RECEIVER}")
def take_form() -> Response:
    """A form whose fields ``GET …/params`` gave, with the file last."""
    request.max_content_length = MAX_PART_BYTES + FORM_OVERHEAD_BYTES
    fields: dict[str, str] = {}
    for part, content in forms.parts(request.stream, forms.boundary_of(request.headers.get("Content-Type", ""))):
        if part.file_name is None:
            fields[part.name] = forms.text(content)
        elif part.name == "file":
            file_id, etag = _uploads().take_form(
                key=fields.get("key", ""), policy=fields.get("policy", ""), chunks=content
            )
            try:
                current_services().promotion.promote(file_id)  # S3's event does that on AWS
            except StorageUnavailable as error:  # it has come in all the same: whoever asks for it has it judged
                logger.error("storage unavailable", extra={"id": file_id, "reason": error.reason})
            return _taken(etag, status=204)
    raise NoFile("The form holds no file: send one in a part called 'file', after the others.")


def _taken(etag: str, *, status: int) -> Response:
    return responses.nothing(status=status, headers={"ETag": f'"{etag}"'})


def _chunks() -> Iterator[bytes]:
    while data := request.stream.read(READ_BYTES):
        yield data


def _uploads() -> LocalDirectUploads:
    return cast("LocalDirectUploads", current_services().direct_uploads)
