"""The routes of direct uploads under ``/upload/s3``, in the protocol of ``@uppy/aws-s3``. Any client may use them.

The client gets URLs here, sends the bytes to those URLs, and completes the upload here. Uppy cannot send header fields
of the page's choice, so every route is also under ``/upload/t/<token>/s3``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from flask import Blueprint, Response, g, request, url_for

from ..direct import declaration
from ..direct.upload_ids import RESUMABLE_PREFIX
from ..direct.uploads import Pending, UploadReference, UploadService
from ..problems import MalformedRequest, RequestTooLarge
from ..storage import StoredFile, is_id
from ..storage.direct import Refused, Stored
from ..units import MIB
from ..web import limits, responses
from ..web.access import UPLOAD
from ..web.grants import current_upload_grant, token_grant
from ..web.metadata_fields import MetadataFields
from ..web.services import current_services

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_JSON_BYTES = 2 * MIB
"""The largest JSON body: enough for a list of 10,000 parts."""

_PART_NUMBER = re.compile("[0-9]{1,5}")

blueprint = Blueprint("direct", __name__, url_prefix="/upload")


# API Gateway needs the same name for a path parameter in every route: PUT /upload/<name> has it already.
@blueprint.get("/<name>")
def status(name: str) -> Response:
    """Return the status of an upload.

    Only the upload id gives the stored file or the reason of a refusal. File ids are in the log, so for a file id the
    response has neither the name nor the URL of the file.

    :param name: the upload id, or the file's id.
    """
    if name.startswith(RESUMABLE_PREFIX) or "Tus-Resumable" in request.headers:
        from ..web import resumable

        return resumable.dispatch(name, None)
    grant = token_grant()
    if is_id(name):
        may_upload = grant is not None and UPLOAD in grant.scopes
        status = _service().status_of_file(name, folder=grant.folder if grant else None, with_token=may_upload)
        return responses.success({"id": name, "status": status})
    upload = _service().status(name, folder=grant.folder if grant else None)
    body: dict[str, Any]
    match upload.state:
        case Stored(file):
            body = {"status": "stored", "file": responses.file_entry(file)}
        case Refused(problem):
            body = {"status": "refused", "problem": problem}
        case Pending():
            body = {"status": "pending"}
    return responses.success({"id": upload.file_id, **body})


@blueprint.get("/s3/params")
@blueprint.get("/t/<token>/s3/params")
def presigned_post(token: str | None = None) -> Response:
    """Return a form that sends a whole file to the storage."""
    grant = current_upload_grant(token)
    fields = _query_fields()
    upload = _service().presigned_post(
        request.args, policy=limits.policy_of(grant), details=limits.details_of(grant, fields.kept)
    )
    return responses.success(
        {
            "method": "POST",
            "url": _absolute(upload.post.url),
            "fields": dict(upload.post.fields),
            "id": upload.file_id,
            "status": _status_url(upload.upload_id),
            **fields.ignored,
        }
    )


@blueprint.post("/s3/multipart")
@blueprint.post("/t/<token>/s3/multipart")
def begin(token: str | None = None) -> Response:
    """Begin an upload in parts."""
    grant = current_upload_grant(token)
    body = _json()
    fields = _fields(body)
    upload = _service().begin(body, policy=limits.policy_of(grant), details=limits.details_of(grant, fields.kept))
    return responses.success(
        {
            "key": upload.key,
            "uploadId": upload.upload_id,
            "id": upload.file_id,
            "status": _status_url(upload.upload_id),
            "partSize": upload.part_bytes,
            **fields.ignored,
        }
    )


@blueprint.get("/s3/multipart/<upload_id>/<part_number>")
@blueprint.get("/t/<token>/s3/multipart/<upload_id>/<part_number>")
def part_url(upload_id: str, part_number: str, token: str | None = None) -> Response:
    """Return the URL for a PUT of a part."""
    reference = _reference(upload_id, token)
    number = int(part_number) if _PART_NUMBER.fullmatch(part_number) else 0  # the service rejects 0
    return responses.success({"url": _absolute(_service().part_url(reference, number))})


@blueprint.get("/s3/multipart/<upload_id>")
@blueprint.get("/t/<token>/s3/multipart/<upload_id>")
def parts(upload_id: str, token: str | None = None) -> Response:
    """Return the parts that have arrived, for a client that resumes an upload."""
    arrived = _service().parts(_reference(upload_id, token))
    entries = [{"PartNumber": part.number, "ETag": part.etag, "Size": part.size} for part in arrived]
    return Response(json.dumps(entries) + "\n", mimetype=responses.JSON)


@blueprint.post("/s3/multipart/<upload_id>/complete")
@blueprint.post("/t/<token>/s3/multipart/<upload_id>/complete")
def complete(upload_id: str, token: str | None = None) -> Response:
    """Join the parts to one file, and check the file. A client may repeat this request: the response stays the same."""
    reference = _reference(upload_id, token)
    match _service().complete(reference, _json(optional=True).get("parts")):
        case Stored(file):
            return _completed(file, upload_id)
        case Pending(key):
            url = _status_url(upload_id)
            body = {"message": "The file is being checked.", "location": url, "key": key, "status": url}
            return responses.success(body, status=202, headers={"Location": url})


@blueprint.delete("/s3/multipart/<upload_id>")
@blueprint.delete("/t/<token>/s3/multipart/<upload_id>")
def abort(upload_id: str, token: str | None = None) -> Response:
    """Delete the parts of an upload."""
    _service().abort(_reference(upload_id, token))
    return responses.success({})


def _completed(file: StoredFile, upload_id: str) -> Response:
    g.stored = [file]  # for the log
    entry = responses.file_entry(file)
    body: dict[str, Any] = {
        "message": f"Stored {file.name}.",
        "location": entry.get("url") or _status_url(upload_id),
        "key": f"incoming/{file.path}",
        "files": [entry],
    }
    return responses.success(body | ({"url": entry["url"]} if "url" in entry else {}))


def _fields(body: Mapping[str, Any]) -> MetadataFields:
    """Return the fields in a JSON object: the members of its ``metadata``, and its own members without a meaning here.

    :raises MalformedRequest: a field has two values.
    """
    fields = MetadataFields(current_services().settings.metadata_fields)
    fields.add_metadata({name: value for name, value in body.items() if name not in declaration.MEMBERS})
    fields.add_metadata(body.get("metadata"))
    return fields


def _query_fields() -> MetadataFields:
    """Return the fields in a query: ``metadata[album]=summer`` and ``album=summer`` name the same field.

    :raises MalformedRequest: a field has two values.
    """
    fields = MetadataFields(current_services().settings.metadata_fields)
    for name, value in request.args.items(multi=True):
        member = declaration.metadata_member(name)
        if member is not None:
            fields.add_metadata({member: value})
        elif name not in declaration.MEMBERS:
            fields.add(name, value)
    return fields


def _service() -> UploadService:
    return current_services().uploads


def _reference(upload_id: str, token: str | None) -> UploadReference:
    """Return the client's reference to its upload.

    :param token: the token from the path, if the route has one.
    :raises Problem: the client may not upload.
    """
    grant = current_upload_grant(token)
    return UploadReference(upload_id=upload_id, subject=grant.subject, folder=grant.folder, key=request.args.get("key"))


def _status_url(upload_id: str) -> str:
    return url_for("direct.status", name=upload_id, _external=True)


def _absolute(url: str) -> str:
    return urljoin(request.root_url, url)


def _json(*, optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body.

    :param optional: an empty body counts as an empty object.
    :raises RequestTooLarge: the body has more than :data:`MAX_JSON_BYTES`.
    :raises MalformedRequest: the body is not a JSON object.
    """
    data = request.stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise RequestTooLarge(
            "The body is too large for a list of parts. Send only the number and the ETag of each part.",
            max_bytes=MAX_JSON_BYTES,
        )
    if optional and not data:
        return {}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise MalformedRequest(
            'The body is not a JSON object. Send one, such as {"filename": "photo.jpg", "type": "image/jpeg"}.'
        )
    return body
