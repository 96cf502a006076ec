"""The routes under ``/upload``: forms and plain bodies in.

A token for clients that send no header fields is in the path: ``/upload/t/<token>`` stands for ``/upload``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Blueprint, Response, current_app, g, request, url_for

from ..inspection.policy import Policy
from ..intake import Batch, IncomingFile, Intake
from ..problems import (
    AccessNotConfigured,
    ContentCodingNotSupported,
    LengthRequired,
    MalformedRequest,
    NoFile,
    TokenRequired,
)
from ..storage import StoredFile
from ..web import chunks, field_names, forms, responses
from ..web.access import UPLOAD, Grant, bearer_token, current_grant, current_upload_grant
from ..web.digests import DigestStream
from ..web.field_names import FILE_FIELD
from . import files

blueprint = Blueprint("upload", __name__)

TOKEN_FIELD = "token"  # noqa: S105
READ_BYTES = 256 * 1024
READ_ON_BYTES = forms.READ_BYTES
"""How far a form is read on after its first refusal, to name others too. What lies behind costs more than it tells."""
MAX_SHOWN_NAME_CHARS = 100
"""How much of a part's name an error shows."""


@blueprint.get("/upload")
@blueprint.get("/upload/t/<token>")
def limits(token: str | None = None) -> Response:
    """Return what may be uploaded, and how; with a token, what may be uploaded with it. A client that asks which pieces
    of a file have arrived hears that none has."""
    if chunks.is_probe(request.args):
        return responses.nothing()
    policy = current_policy() if token is None else policy_of(current_upload_grant(token))
    max_request_bytes = current_app.config["MAX_CONTENT_LENGTH"]
    upload_url = url_for("upload.form", _external=True)
    ways = [
        {
            "name": "form",
            "method": "POST",
            "url": upload_url,
            "field": FILE_FIELD,
            "fields": list(current_app.config["FILE_FIELDS"]),
            "max_bytes": max_form_bytes(policy),
        },
        {
            "name": "body",
            "method": "PUT",
            "url": upload_url + "/{name}",
            "max_bytes": min(policy.max_file_bytes, max_request_bytes),
        },
    ]
    if url := responses.direct_url():
        ways.append({"name": "direct", "method": "POST", "url": url, "max_bytes": policy.max_file_bytes})
    return responses.success(
        {
            "extensions": list(policy.file_types),
            "types": {extension: known.media_type for extension, known in policy.file_types.items()},
            "max_file_bytes": policy.max_file_bytes,
            "max_image_pixels": policy.max_image_pixels,
            "max_request_bytes": max_request_bytes,
            "max_files": forms.MAX_PARTS,
            "scopes": _scopes(token),
            "ways": ways,
        }
    )


@blueprint.post("/upload")
@blueprint.post("/upload/t/<token>")
def form(token: str | None = None) -> Response:
    """Store the files of a form: all of them, or none. With ``?filename=`` the body is the file.

    :param token: the token from the path, if it is there.
    """
    _check_dialect()
    if "filename" in request.args and request.mimetype != forms.MEDIA_TYPE:
        return _store_body(request.args["filename"], token)
    with _intake().begin() as batch:
        # A form without scripts has no header fields to choose: it may bring its token as its first part.
        has_token = token is not None or bearer_token(request) is not None
        authorized = has_token or request.mimetype != forms.MEDIA_TYPE
        if authorized:
            _authorize(batch, token)
        _refuse_piece(chunks.refusal_of_headers(request.headers))
        boundary = forms.boundary_of(request.headers.get("Content-Type", ""))
        content = _open_body()
        _FormReader(batch, authorized=authorized).read(content, boundary)
        return _created(batch, content)


@blueprint.route("/upload/<name>", methods=["PUT", "POST"])
@blueprint.route("/upload/t/<token>/<name>", methods=["PUT", "POST"])
def body(name: str, token: str | None = None) -> Response:
    """Store the body as a file of that name, as ``curl -T`` and ``wget --post-file`` send it."""
    _check_dialect()
    return _store_body(name, token)


@blueprint.put("/upload")
@blueprint.put("/upload/t/<token>")
def body_without_name(token: str | None = None) -> Response:
    """Store the body as the file that ``?filename=`` names."""
    _check_dialect()
    if "filename" in request.args:
        return _store_body(request.args["filename"], token)
    raise MalformedRequest(
        "The file has no name. Send it to PUT /upload/photo.jpg: curl -T photo.jpg does so if the URL ends in a slash."
    )


def _store_body(name: str, token: str | None) -> Response:
    """Store the body as one file.

    :raises Problem: the client may not upload, or the body is not one whole file.
    """
    with _intake().begin() as batch:
        _authorize(batch, token)
        _refuse_piece(chunks.refusal_of_headers(request.headers) or chunks.refusal_of_fields(request.args))
        if request.mimetype == forms.MEDIA_TYPE:
            # Its parts have names of their own, so that the name in the URL would be one too many.
            raise MalformedRequest(
                "The body is a form, and this URL takes the bytes of a file. Send a form with POST /upload."
            )
        content = _open_body()
        incoming = batch.add(name)
        while not batch.refusals and (data := content.read(READ_BYTES)):
            incoming.write(data)
        return _created(batch, content)


def _scopes(path_token: str | None) -> list[str]:
    """Return the scopes of the client that sent this request; none if the client must send a token first.

    :param path_token: the token from the path, if the route has one.
    :raises Problem: the token is not valid, or must not be in a path.
    """
    try:
        grant = current_grant(bearer_token(request)) if path_token is None else current_upload_grant(path_token)
    except (TokenRequired, AccessNotConfigured):
        return []
    return sorted(grant.scopes)


def current_policy() -> Policy:
    """What may come in; less where the client's token says so."""
    token = bearer_token(request)
    return _intake().policy if token is None else policy_of(current_grant(token))


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


def _authorize(batch: Batch, path_token: str | None, *, form_token: str | None = None) -> None:
    """Let the batch take what the client may upload.

    :param path_token: the token from the path.
    :param form_token: the token from a form, where there is no other.
    :raises Problem: it may not upload at all.
    """
    if form_token is None:
        grant = current_upload_grant(path_token)
    else:
        grant = current_grant(form_token)
        grant.require(UPLOAD)
    batch.narrow(max_bytes=grant.max_bytes, extensions=grant.extensions)
    g.max_file_bytes = policy_of(grant).max_file_bytes  # a request over its limit ends in an error handler


def _check_dialect() -> None:
    """
    :raises MalformedRequest: ``?for=`` names no client that is known, or one that cannot work here.
    """
    if "for" not in request.args:
        return
    dialect = responses.requested_dialect()
    if dialect is None:
        from ..web import dialects  # noqa: PLC0415  (most requests ask for none)

        known = ", ".join(dialects.names())
        raise MalformedRequest(f"The value of 'for' is not the name of a known client. Use one of: {known}.")
    if dialect.needs_url and files.DOWNLOAD not in current_app.view_functions:
        raise MalformedRequest(
            "This client shows a file from its URL, and here files have none. Set DOWNLOADS=on, or send the file "
            f"without '?for={dialect.name}'."
        )


def _file_fields() -> frozenset[str]:
    """The names of the parts in which files are taken. Each stands for its array forms too."""
    dialect = responses.requested_dialect()
    return frozenset((*current_app.config["FILE_FIELDS"], *(dialect.fields if dialect else ())))


def _refuse_piece(refusal: str | None) -> None:
    """
    :param refusal: the sentences that refuse a piece of a file; ``None`` if it is none.
    :raises MalformedRequest: it is one.
    """
    if refusal is not None:
        raise MalformedRequest(refusal)


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
        self._file_fields = _file_fields()
        self._text_fields: dict[str, None] = {}  # in their order
        self._used_fields: set[str] = set()
        self._piece_fields = {name: value for name, value in request.args.items() if name in chunks.FIELDS}
        self._unread_bytes = READ_ON_BYTES
        self._whole: list[IncomingFile] = []

    def read(self, content: DigestStream, boundary: bytes) -> None:
        """Read the form to its end.

        :raises Problem: it has no file, or a piece of one; or files of it were refused, and it goes on for long after
            the first of them.
        """
        for part, data in forms.parts(content, boundary):
            if part.file_name:
                self._read_file(part.name, part.file_name, self._watched(data))
            else:
                self._read_field(part, self._watched(data))
        # Only now: the fields that mark a piece stand before the file with some clients, and behind it with others.
        self._refuse_piece()
        lost = [name for name in self._text_fields if not self._whole or name in (FILE_FIELD, *self._used_fields)]
        if lost:
            name = lost[0][:MAX_SHOWN_NAME_CHARS]
            raise NoFile(f"The part '{name}' is text. Send the file: with curl, write -F {name}=@photo.jpg.")
        if not self._whole:
            raise NoFile(f"The form holds no file. Send one in a part called '{FILE_FIELD}'.")

    def _read_file(self, field: str, file_name: str, content: Iterator[bytes]) -> None:
        if not field_names.is_taken(field, self._file_fields):
            raise NoFile(
                f"The file came in a part called {field[:MAX_SHOWN_NAME_CHARS]!r}, and no file is taken from there. "
                f"Call the part '{FILE_FIELD}', or add its name to the setting FILE_FIELDS, or name your client in the "
                "URL, as in /upload?for=tinymce."
            )
        # FilePond sends its metadata as text, under the name of the file that follows.
        self._text_fields.pop(field, None)
        self._used_fields.add(field)
        if not self._authorized:
            # An empty field is what a form sends whose input nobody filled in.
            _authorize(self._batch, None, form_token=self._token.strip() or None)
            self._authorized = True
        incoming = self._batch.add(file_name)
        for data in content:
            incoming.write(data)
        self._whole.append(incoming)

    def _read_field(self, part: forms.FormPart, content: Iterator[bytes]) -> None:
        value = forms.text(content, part.text_encoding)
        if part.file_name is not None:  # what a browser sends for an input in which nothing was chosen
            return
        if part.name == TOKEN_FIELD:
            self._token = value
        elif part.name in chunks.FIELDS:
            self._piece_fields.setdefault(part.name, value)
        elif field_names.is_taken(part.name, self._file_fields - {field_names.ANY}):
            self._text_fields[part.name] = None

    def _refuse_piece(self) -> None:
        _refuse_piece(chunks.refusal_of_fields(self._piece_fields))

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
        self._refuse_piece()
        # Not by way of the batch's commit: that would judge the file that is cut off here by the part of it that came.
        for incoming in self._whole:
            incoming.finish()
        raise self._batch.refusal()


def _created(batch: Batch, content: DigestStream) -> Response:
    """Store the batch, and say so."""
    if not batch.refusals:  # after a refusal the rest may not have been read
        content.verify()
    g.stored = batch.commit()
    entries = [entry_of(file) for file in g.stored]
    first = entries[0]
    headers = {"Location": first["url"]} if "url" in first else {}
    if dialect := responses.requested_dialect():
        return responses.in_dialect(dialect.stored(entries), headers=headers)
    answer = {"message": f"Stored {first['name']}.", "files": entries}
    if len(entries) > 1:
        answer["message"] = f"Stored {len(entries)} files."
    else:
        # Where clients look that know of one file: Uppy at 'url', TinyMCE at 'location'.
        answer |= {key: first[key] for key in ("url", "location") if key in first}
    return responses.success(answer, status=201, headers=headers, page="answer.html")


def entry_of(file: StoredFile) -> dict[str, Any]:
    """Return what a client is told about a stored file. Without downloads it has no URL."""
    entry = {
        "id": file.id,
        "name": file.name,
        "original_name": file.original_name,
        "size": file.size,
        "type": file.media_type,
        "sha256": file.sha256,
    }
    if files.DOWNLOAD in current_app.view_functions:
        url = url_for(files.DOWNLOAD, file_id=file.id, name=file.name, _external=True)
        entry |= {"url": url, "location": url}
    return entry
