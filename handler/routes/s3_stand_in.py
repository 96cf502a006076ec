"""The routes at which a local server takes what S3 takes on AWS: parts, and forms with a whole file."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, current_app, request

from ..direct.promotion import Promotion
from ..logs import logger
from ..problems import MalformedRequest, NoFile, StorageUnavailable
from ..storage.direct import MAX_PART_BYTES
from ..storage.folder.direct import RECEIVER, LocalDirectUploads
from ..web import forms, responses

READ_BYTES = 256 * 1024
FORM_ALLOWANCE_BYTES = 1024 * 1024


def register(app: Flask) -> None:
    """Add the routes to an app whose direct uploads go to a folder."""
    app.add_url_rule(f"/{RECEIVER}/<ticket>", "direct_local.part", take_part, methods=["PUT"])
    app.add_url_rule(f"/{RECEIVER}", "direct_local.form", take_form, methods=["POST"])


def take_part(ticket: str) -> Response:
    """A part of an upload, at a URL that ``GET …/multipart/<upload_id>/<part_number>`` gave."""
    request.max_content_length = MAX_PART_BYTES
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        raise MalformedRequest("Send a Content-Length.")
    return _taken(_uploads().take_part(ticket, _chunks()), status=200)


def take_form() -> Response:
    """A form whose fields ``GET …/params`` gave, with the file last."""
    request.max_content_length = MAX_PART_BYTES + FORM_ALLOWANCE_BYTES
    fields: dict[str, str] = {}
    for part, content in forms.parts(request.stream, forms.boundary_of(request.headers.get("Content-Type", ""))):
        if part.file_name is None:
            fields[part.name] = forms.text(content)
        elif part.name == "file":
            file_id, etag = _uploads().take_form(
                key=fields.get("key", ""), policy=fields.get("policy", ""), chunks=content
            )
            promotion: Promotion = current_app.extensions["promotion"]
            try:
                promotion.promote(file_id)  # as S3's event has it done; who sent the form is not told
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
    uploads: LocalDirectUploads = current_app.extensions["direct_uploads"]
    return uploads
