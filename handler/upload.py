"""The routes under ``/upload``: forms and plain bodies in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Blueprint, Response, current_app, g, request, url_for

from . import answers, files, forms, problems
from .access import UPLOAD, Grant, bearer_token, granted
from .digests import DigestStream
from .inspection import Policy
from .intake import Batch, IncomingFile, Intake
from .problems import ContentCodingNotSupported, LengthRequired, MalformedRequest, NoFile
from .storage import StoredFile

blueprint = Blueprint("upload", __name__)

FILE_FIELD = "file"
TOKEN_FIELD = "token"  # noqa: S105
READ_BYTES = 256 * 1024
READ_ON_BYTES = forms.READ_BYTES
"""How far a form is read on after its first refusal, to name others too. What lies behind costs more than it tells."""


@blueprint.get("/upload")
def limits() -> Response:
    """What may be uploaded, and how; with a token, what may be uploaded with it."""
    policy = current_policy()
    max_request_bytes = current_app.config["MAX_CONTENT_LENGTH"]
    upload_url = url_for("upload.form", _external=True)
    direct_way = {"name": "direct", "method": "POST", "url": answers.direct_url(), "max_bytes": policy.max_file_bytes}
    return answers.success(
        {
            "extensions": list(policy.file_types),
            "types": {extension: known.media_type for extension, known in policy.file_types.items()},
            "max_file_bytes": policy.max_file_bytes,
            "max_image_pixels": policy.max_image_pixels,
            "max_request_bytes": max_request_bytes,
            "max_files": forms.MAX_PARTS,
            "ways": [
                {
                    "name": "form",
                    "method": "POST",
                    "url": upload_url,
                    "field": FILE_FIELD,
                    "max_bytes": max_form_bytes(policy),
                },
                {
                    "name": "body",
                    "method": "PUT",
                    "url": upload_url + "/{name}",
                    "max_bytes": min(policy.max_file_bytes, max_request_bytes),
                },
                *([direct_way] if direct_way["url"] else []),
            ],
        }
    )


@blueprint.post("/upload")
def form() -> Response:
    """Store the ``file`` parts of a form: all of them, or none."""
    token = bearer_token(request)
    with _intake().begin() as batch:
        # A form without scripts has no header fields to choose: it may bring its token as its first part.
        authorized = token is not None or request.mimetype != forms.MEDIA_TYPE
        if authorized:
            _authorize(batch, token)
        boundary = forms.boundary_of(request.headers.get("Content-Type", ""))
        content = _open_body()
        _FormReader(batch, authorized=authorized).read(content, boundary)
        return _created(batch, content)


@blueprint.put("/upload/<name>")
def body(name: str) -> Response:
    """Store the body as a file of that name, as ``curl -T`` sends it."""
    with _intake().begin() as batch:
        _authorize(batch, bearer_token(request))
        if "Content-Range" in request.headers:  # RFC 9110, section 14.5: a part must not be taken for the whole
            raise MalformedRequest("A file is sent whole here: leave out Content-Range.")
        content = _open_body()
        incoming = batch.add(name)
        while not batch.refusals and (data := content.read(READ_BYTES)):
            incoming.write(data)
        return _created(batch, content)


@blueprint.put("/upload")
def body_without_name() -> Response:
    raise MalformedRequest(
        "Say what the file is called, as in PUT /upload/photo.jpg; curl -T photo.jpg does where the URL ends in /."
    )


def current_policy() -> Policy:
    """What may come in; less where the client's token says so."""
    token = bearer_token(request)
    return _intake().policy if token is None else policy_of(granted(token))


def policy_of(grant: Grant) -> Policy:
    """What may come in of a client that may do that."""
    return _intake().policy.narrowed(max_bytes=grant.max_bytes, extensions=grant.extensions)


def max_form_bytes(policy: Policy) -> int:
    """What a file may hold that comes in a form: its request has to hold more than the file."""
    room: int = current_app.config["MAX_CONTENT_LENGTH"] - forms.AROUND_FILE_BYTES
    return max(0, min(policy.max_file_bytes, room))


def _intake() -> Intake:
    found: Intake = current_app.extensions["intake"]
    return found


def _authorize(batch: Batch, token: str | None) -> None:
    """Let the batch take what the client may upload.

    :raises Problem: it may not upload at all.
    """
    grant = granted(token)
    grant.require(UPLOAD)
    batch.narrow(max_bytes=grant.max_bytes, extensions=grant.extensions)


def _open_body() -> DigestStream:
    """The body, unless it would be stored as something else than the client has."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ContentCodingNotSupported("Send the file as it is, without Content-Encoding.")
    if request.environ.get("wsgi.input_terminated"):
        # Werkzeug refuses such a body when the limit is reached, without a look whether that is its end.
        request.max_content_length = current_app.config["MAX_CONTENT_LENGTH"] + 1
    elif request.content_length is None:
        raise LengthRequired("Send a Content-Length, so that the end of the file is known.")
    return DigestStream(request.stream, request.headers)


class _FormReader:
    """Takes the parts of a form one after the other: the token, then the files.

    :param authorized: whether the token has come in another way already.
    """

    def __init__(self, batch: Batch, *, authorized: bool) -> None:
        self._batch = batch
        self._authorized = authorized
        self._token = ""
        self._unread_bytes = READ_ON_BYTES
        self._whole: list[IncomingFile] = []

    def read(self, content: DigestStream, boundary: bytes) -> None:
        """Read the form to its end.

        :raises Problem: files of it were refused, and it goes on for long after the first of them.
        """
        for part, data in forms.parts(content, boundary):
            if part.file_name:
                self._read_file(part.name, part.file_name, self._watched(data))
            else:
                self._read_field(part, self._watched(data))
        if not self._whole:
            raise NoFile(f"The form holds no file: send one in a part called '{FILE_FIELD}'.")

    def _read_file(self, field: str, file_name: str, content: Iterator[bytes]) -> None:
        if field != FILE_FIELD:
            raise NoFile(f"The file came in a part called {field!r}: call it '{FILE_FIELD}'.")
        if not self._authorized:
            # An empty field is what a form sends whose input nobody filled in.
            _authorize(self._batch, self._token.strip() or None)
            self._authorized = True
        incoming = self._batch.add(file_name)
        for data in content:
            incoming.write(data)
        self._whole.append(incoming)

    def _read_field(self, part: forms.Part, content: Iterator[bytes]) -> None:
        is_text = part.file_name is None  # else it is what a browser sends for an input in which nothing was chosen
        if is_text and part.name == FILE_FIELD:
            raise NoFile(f"The part '{FILE_FIELD}' is text: with curl, write -F {FILE_FIELD}=@photo.jpg.")
        value = forms.text(content)
        if is_text and part.name == TOKEN_FIELD:
            self._token = value

    def _watched(self, content: Iterator[bytes]) -> Iterator[bytes]:
        """The content of a part, as long as it is worth reading.

        :raises Problem: a file was refused, and enough has been read since.
        """
        for data in content:
            yield data
            if self._batch.refusals:
                self._unread_bytes -= len(data)
                if self._unread_bytes < 0:
                    self._give_up()

    def _give_up(self) -> NoReturn:
        # Not by way of the batch's commit: that would judge the file that is cut off here by the part of it that came.
        for incoming in self._whole:
            incoming.finish()
        raise problems.one_of(self._batch.refusals)


def _created(batch: Batch, content: DigestStream) -> Response:
    """Store the batch, and say so."""
    if not batch.refusals:  # after a refusal the rest may not have been read
        content.verify()
    g.stored = batch.commit()
    entries = [entry_of(file) for file in g.stored]
    first = entries[0]
    answer = {"message": f"Stored {first['name']}.", "files": entries}
    if len(entries) > 1:
        answer["message"] = f"Stored {len(entries)} files."
    elif "url" in first:
        answer["url"] = first["url"]  # Uppy's XHR plugin reads it here
    headers = {"Location": first["url"]} if "url" in first else {}
    return answers.success(answer, status=201, headers=headers, page="answer.html")


def entry_of(file: StoredFile) -> dict[str, Any]:
    """What a client is told about a file that is stored."""
    entry = {"id": file.id, "name": file.name, "size": file.size, "type": file.media_type, "sha256": file.sha256}
    if files.DOWNLOAD in current_app.view_functions:
        entry["url"] = url_for(files.DOWNLOAD, id=file.id, name=file.name, _external=True)
    return entry
