"""The routes under ``/upload/s3``: straight to the storage, as ``@uppy/aws-s3`` and anyone else may speak it.

The client asks here for URLs and sends the bytes there, and says here when it is done. Uppy sends no header fields of
one's choosing, so every route is also under ``/upload/t/<token>/s3``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urljoin

from flask import Blueprint, Response, current_app, g, request, url_for

from .. import problems
from ..direct import promotion, upload_ids
from ..direct.declaration import Announcement
from ..direct.promotion import NotInTime, Promotion
from ..direct.upload_ids import UploadId
from ..problems import (
    FileTooLarge,
    Forbidden,
    MalformedRequest,
    NotFound,
    Problem,
    RequestTooLarge,
    UploadIncomplete,
    UploadNotFound,
)
from ..services import current_services
from ..storage import is_id, new_id
from ..storage.deadline import REQUEST_SECONDS, nothing_new_after
from ..storage.direct import MAX_FORM_BYTES, MAX_PARTS, MIN_PART_BYTES, DirectUploads, UploadedPart, Verdict, part_bytes
from ..web import limits, responses
from ..web.access import UPLOAD, Grant, bearer_token, current_grant, current_upload_grant

MAX_JSON_BYTES = 2 * 1024 * 1024
"""Enough for a list of 10,000 parts."""
PARTS_AHEAD = 100
"""How many parts may be missing before one whose length is not signed. Each could hold 5 GiB, and what they hold is
known only once they have arrived."""

_PART_NUMBER = re.compile("[0-9]{1,5}")

blueprint = Blueprint("direct", __name__)


def _in_time(view: Callable[..., Response]) -> Callable[..., Response]:
    """The view, with one deadline for all that it asks of the storage where somebody is waiting at API Gateway."""

    @wraps(view)
    def view_in_time(**arguments: str) -> Response:
        with nothing_new_after(REQUEST_SECONDS if current_app.config["HURRY"] else math.inf):
            return view(**arguments)

    return view_in_time


# API Gateway wants one variable name at each level of a path: PUT /upload/<name> is there already.
@blueprint.get("/upload/<name>")
@_in_time
def status(name: str) -> Response:
    """Return the status of an upload.

    Only its upload id gets the file or the reason of a refusal. The ids of files are in the log, so such an id is
    answered without the file's name and URL.

    :param name: the upload id, or the file's id.
    """
    if is_id(name):
        return _status_by_id(name)
    upload = upload_ids.verify(name, secret=_uploads().secret())
    try:
        if upload.upload and _uploads().has_multipart_upload(upload.id, upload.upload):
            return _pending(upload)
        verdict = _uploads().find_verdict(upload.id)
        if verdict is None and not upload.upload and not _uploads().arrived(upload.id):
            return _pending(upload)  # nobody knows whether the form will still be sent
        if verdict is None:
            verdict = _promote(upload, undecided=True, max_read_bytes=promotion.READ_FOR_STATUS_BYTES)
    except NotInTime:
        return _pending(upload)
    if verdict is None:
        raise NotFound("Nothing has come in under this id. It may have been removed.")
    if verdict.refusal is not None:
        return responses.success({"id": upload.id, "status": "refused", "problem": verdict.refusal})
    if verdict.file is None:
        raise NotFound("The file was stored, and then deleted.")
    return responses.success({"id": upload.id, "status": "stored", "file": responses.file_entry(verdict.file)})


def _status_by_id(file_id: str) -> Response:
    """Return the status of a file, for a client that knows only its id, which may be from the log.

    It costs one call to S3. With an upload token one more says ``refused``. The name, the URL and the reason need the
    upload id.

    :raises NotFound: no file is stored under this id.
    """
    if current_services().storage.contains(file_id):
        return responses.success({"id": file_id, "status": "stored"})
    if _has_upload_token() and _uploads().refusal(file_id) is not None:
        return responses.success({"id": file_id, "status": "refused"})
    raise NotFound(
        "No file is stored under this id. Only the upload's 'status' URL, or its upload id, says whether it is "
        "pending, or why it was refused."
    )


def _has_upload_token() -> bool:
    """Whether the client sent a valid token with the scope ``upload``. Where access needs no token, none is valid."""
    token = bearer_token(request)
    if token is None:
        return False
    try:
        grant = current_grant(token)
    except Problem:
        return False  # the request needs no token, so a bad one changes nothing
    return grant.expires is not None and UPLOAD in grant.scopes


def _pending(upload: UploadId) -> Response:
    return responses.success({"id": upload.id, "status": "pending"})


def _promote(upload: UploadId, *, undecided: bool, max_read_bytes: int) -> Verdict | None:
    """Come to a verdict on an upload; in Lambda, before API Gateway's time-out.

    :param undecided: whether there was no verdict a moment ago.
    :param max_read_bytes: the largest file that is read in Lambda for its digest.
    :raises NotInTime: the file is too large for that.
    """
    hurry = current_app.config["HURRY"]
    return _promotion().promote(
        upload.id,
        undecided=undecided,
        max_copy_bytes=promotion.COPIED_IN_TIME_BYTES if hurry else None,
        max_read_bytes=max_read_bytes if hurry else None,
    )


@blueprint.get("/upload/s3/params")
@blueprint.get("/upload/t/<token>/s3/params")
@_in_time
def form(token: str | None = None) -> Response:
    """A form that sends a whole file; nobody tells us when it is done, so S3's event starts the check."""
    grant = current_upload_grant(token)
    file = Announcement.of_query(request.args, policy=limits.policy_of(grant))
    name = file.declaration.original_name
    if file.size is not None and file.size > MAX_FORM_BYTES:
        raise FileTooLarge(
            f"'{name}' is larger than what a form may hold: {MAX_FORM_BYTES:,} bytes. Send it in parts.",
            file_name=name,
            max_bytes=MAX_FORM_BYTES,
        )
    file_id = new_id()
    presigned = _uploads().presigned_post(file_id, file.declaration)
    upload_id = _sign(UploadId(id=file_id, upload="", max_bytes=file.declaration.max_bytes))
    return responses.success(
        {
            "method": "POST",
            "url": _absolute(presigned.url),
            "fields": dict(presigned.fields),
            "id": file_id,
            "status": _status_url(upload_id),
        }
    )


@blueprint.post("/upload/s3/multipart")
@blueprint.post("/upload/t/<token>/s3/multipart")
@_in_time
def begin(token: str | None = None) -> Response:
    """Begin an upload in parts."""
    grant = current_upload_grant(token)
    file = Announcement.of(_json(), policy=limits.policy_of(grant))
    file_id = new_id()
    upload_id = _sign(
        UploadId(
            id=file_id,
            upload=_uploads().begin(file_id, file.declaration),
            max_bytes=file.declaration.max_bytes,
            size=file.size,
            part_bytes=file.part_bytes,
            subject=_subject(grant),
        )
    )
    advised = file.part_bytes or part_bytes(file.declaration.max_bytes if file.size is None else file.size)
    return responses.success(
        {
            "key": f"incoming/{file_id}",
            "uploadId": upload_id,
            "id": file_id,
            "status": _status_url(upload_id),
            "partSize": advised,
        }
    )


@blueprint.get("/upload/s3/multipart/<upload_id>/<part_number>")
@blueprint.get("/upload/t/<token>/s3/multipart/<upload_id>/<part_number>")
@_in_time
def part(upload_id: str, part_number: str, token: str | None = None) -> Response:
    """Where to PUT a part."""
    upload = _upload(upload_id, token)
    number = int(part_number) if _PART_NUMBER.fullmatch(part_number) else 0
    if not 1 <= number <= MAX_PARTS:
        raise MalformedRequest(f"Parts have numbers from 1 to {MAX_PARTS:,}.")
    size = None if upload.size is None else _part_size(number, size=upload.size, part_bytes=upload.part_bytes)
    if size is None:
        _check_room(upload, number)
    return responses.success({"url": _absolute(_uploads().part_url(upload.id, upload.upload, number, size=size))})


def _part_size(number: int, *, size: int, part_bytes: int | None) -> int:
    """Return the length of a part, in bytes, of a file whose size is known.

    :param part_bytes: the length of each part except the last, if the client said it.
    :raises MalformedRequest: there is no such part; or its length is unknown, and a URL for any length takes 5 GiB.
    """
    if part_bytes is None:
        if size > MIN_PART_BYTES:
            raise MalformedRequest(
                f"Begin the upload with 'partSize' too: a file of {size:,} bytes may have several parts, and each URL "
                "is signed for the length of its part."
            )
        part_bytes = MIN_PART_BYTES  # S3 takes a smaller part only as the last, so there is one
    count = max(1, -(-size // part_bytes))
    if number > count:
        raise MalformedRequest(f"There is no part {number}. The last part of a file of {size:,} bytes is {count:,}.")
    return min(part_bytes, size - (number - 1) * part_bytes)


@blueprint.get("/upload/s3/multipart/<upload_id>")
@blueprint.get("/upload/t/<token>/s3/multipart/<upload_id>")
@_in_time
def parts(upload_id: str, token: str | None = None) -> Response:
    """The parts that have arrived, for a client that goes on after a pause."""
    upload = _upload(upload_id, token)
    found = _uploads().parts(upload.id, upload.upload)
    entries = [{"PartNumber": each.number, "ETag": each.etag, "Size": each.size} for each in found]
    return Response(json.dumps(entries) + "\n", mimetype=responses.JSON)


@blueprint.post("/upload/s3/multipart/<upload_id>/complete")
@blueprint.post("/upload/t/<token>/s3/multipart/<upload_id>/complete")
@_in_time
def complete(upload_id: str, token: str | None = None) -> Response:
    """All parts are there: make one file of them, and judge it. To be repeated at will: the answer stays the same."""
    upload = _upload(upload_id, token)
    body = _json(optional=True)
    undecided = True
    try:
        found = _uploads().parts(upload.id, upload.upload)
        _check_complete(upload, found, body.get("parts"))
        _uploads().complete(upload.id, upload.upload, found)
    except UploadNotFound:
        undecided = False  # it was completed before, or aborted: the verdict knows
    key = f"incoming/{upload.id}"
    try:
        verdict = _promote(upload, undecided=undecided, max_read_bytes=promotion.READ_IN_TIME_BYTES)
    except NotInTime:
        where = _status_url(upload_id)
        return responses.success(
            {"message": "The file is being checked.", "location": where, "key": key, "status": where},
            status=202,
            headers={"Location": where},
        )
    if verdict is None:
        raise UploadNotFound()
    if verdict.refusal is not None:
        raise problems.from_dict(verdict.refusal)
    if verdict.file is None:
        raise NotFound("The file was stored, and then deleted.")
    g.stored = [verdict.file]
    entry = responses.file_entry(verdict.file)
    where = entry.get("url") or _status_url(upload_id)
    answer: dict[str, Any] = {
        "message": f"Stored {verdict.file.name}.",
        "location": where,
        "key": key,
        "files": [entry],
    }
    return responses.success(answer | ({"url": entry["url"]} if "url" in entry else {}))


@blueprint.delete("/upload/s3/multipart/<upload_id>")
@blueprint.delete("/upload/t/<token>/s3/multipart/<upload_id>")
@_in_time
def abort(upload_id: str, token: str | None = None) -> Response:
    """Forget the parts.

    :raises UploadNotFound: the upload is completed.
    """
    upload = _upload(upload_id, token)
    _uploads().abort(upload.id, upload.upload)
    # S3 may answer an abort that came after the completion like one that came before.
    if _uploads().arrived(upload.id) or current_services().storage.contains(upload.id):
        raise UploadNotFound(
            "The upload is completed already, so there are no parts to forget. Delete the file instead."
        )
    return responses.success({})


def _check_room(upload: UploadId, number: int) -> None:
    """Where lengths are not signed: whether there may be such a part at all, and whether too much has arrived.

    :raises FileTooLarge: the file is larger than it may be; all its parts are gone.
    """
    if number > max(1, -(-upload.max_bytes // MIN_PART_BYTES)):
        raise _too_large(upload)
    found = _uploads().parts(upload.id, upload.upload)
    _check_sum(upload, found)
    if number > len(found) + PARTS_AHEAD:
        raise MalformedRequest(
            f"Send the parts one after the other: {len(found):,} have arrived. Or begin with 'size' and 'partSize'."
        )


def _check_complete(upload: UploadId, found: list[UploadedPart], said: object) -> None:
    """Whether that is the whole file."""
    _check_sum(upload, found)
    if not found:
        raise UploadIncomplete("No part has arrived.")
    if upload.size is not None and (arrived := sum(part.size for part in found)) < upload.size:
        raise UploadIncomplete(f"{arrived:,} of {upload.size:,} bytes have arrived. Send the parts that are missing.")
    if said is None:
        return
    try:
        wanted = {int(each["PartNumber"]): str(each["ETag"]).strip('"') for each in said}  # type: ignore[attr-defined]
    except (TypeError, KeyError, ValueError, OverflowError):  # the last one: JSON's 1e999
        raise MalformedRequest("'parts' is not a list of objects with PartNumber and ETag.") from None
    there = {part.number: part.etag for part in found}
    if wrong := sorted(number for number in wanted | there if wanted.get(number) != there.get(number)):
        shown = ", ".join(map(str, wrong[:10]))
        raise UploadIncomplete(f"What has arrived is not what 'parts' says. Look at the parts {shown}.")


def _check_sum(upload: UploadId, found: list[UploadedPart]) -> None:
    if sum(part.size for part in found) > upload.max_bytes:
        refusal = _too_large(upload)
        _uploads().refuse(upload.id, refusal.as_dict())  # for whoever asks what became of it: Uppy shows no reason
        _uploads().abort(upload.id, upload.upload)
        raise refusal


def _too_large(upload: UploadId) -> FileTooLarge:
    return FileTooLarge(f"The file is larger than it may be: {upload.max_bytes:,} bytes.", max_bytes=upload.max_bytes)


def _upload(upload_id: str, token: str | None) -> UploadId:
    """The upload, for a client that may go on with it.

    :raises UploadNotFound: it is not one that was begun in parts.
    :raises Forbidden: another client began it.
    """
    grant = current_upload_grant(token)
    upload = upload_ids.verify(upload_id, secret=_uploads().secret())
    if not upload.upload:
        raise UploadNotFound()
    if upload.subject != _subject(grant):
        raise Forbidden("Another client began this upload: its token had another 'sub'.")
    key = request.args.get("key")
    if key is not None and key != f"incoming/{upload.id}":
        raise UploadNotFound("This upload id and this key do not belong together.")
    return upload


def _subject(grant: Grant) -> str | None:
    """What an upload id says of who began it: no more than it takes to know them again, since it is in URLs."""
    return hashlib.sha256(grant.subject.encode("utf-8", "surrogatepass")).hexdigest() if grant.subject else None


def _uploads() -> DirectUploads:
    return current_services().direct_uploads


def _promotion() -> Promotion:
    return current_services().promotion


def _sign(upload_id: UploadId) -> str:
    return upload_ids.sign(upload_id, secret=_uploads().secret())


def _status_url(upload_id: str) -> str:
    return url_for("direct.status", name=upload_id, _external=True)


def _absolute(url: str) -> str:
    return urljoin(request.root_url, url)


def _json(*, optional: bool = False) -> dict[str, Any]:
    """The body: an object, or nothing at all where that is enough."""
    data = request.stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise RequestTooLarge("That is too much for a list of parts.", max_bytes=MAX_JSON_BYTES)
    if optional and not data:
        return {}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise MalformedRequest('Send a JSON object, such as {"filename": "photo.jpg", "type": "image/jpeg"}.')
    return body
