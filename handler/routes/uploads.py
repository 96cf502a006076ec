"""The routes under ``/upload`` that take files: as a form, or as the body of the request.

Clients that cannot send header fields put their token into the path: ``/upload/t/<token>`` stands for ``/upload``.

API Gateway wants one variable name for each level of a path, in all methods together. So ``/upload/<name>`` is also the
path at which :mod:`.direct` reports the status of an upload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from flask import Blueprint, Response, g, request, url_for

from .. import field_names
from ..field_names import FILE_FIELD
from ..problems import (
    AccessNotConfigured,
    ContentCodingNotSupported,
    LengthRequired,
    MalformedRequest,
    NoFile,
    TokenRequired,
)
from ..units import KIB
from ..web import access, chunks, forms, limits, responses
from ..web.client_dialect import UPLOAD_ROUTES, check_dialect, requested_dialect
from ..web.digests import DigestStream
from ..web.grants import bearer_token, current_grant, current_upload_grant
from ..web.metadata_fields import MetadataFields
from ..web.services import current_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inspection.policy import Policy
    from ..intake import Batch, IncomingFile
    from ..storage import Details

blueprint = Blueprint(UPLOAD_ROUTES, __name__)

RESUMABLE_FIELDS = ("Tus-Resumable", "Upload-Complete", "Upload-Length", "X-HTTP-Method-Override")
"""The header fields without which no request belongs to a resumable upload."""
MAX_BYTES_AFTER_REFUSAL = 256 * KIB
"""How much of a form is read after its first refusal, to report other refused files too."""
IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_SHOWN_NAME_CHARS = 100
"""How much of a part's name an error shows."""


@blueprint.get("/upload")
@blueprint.get("/upload/t/<token>")
def show_limits(token: str | None = None) -> Response:
    """Return the files that may be uploaded, and the ways to upload them. A token can narrow both.

    A client that asks which pieces of a file have arrived gets 204, which means none.

    :param token: the token from the path, if it is there.
    """
    if chunks.is_probe(request.args):
        return responses.nothing()
    if request.method == "HEAD" and chunks.FILEPOND_ID in request.args:
        from ..web import resumable

        return resumable.dispatch(request.args[chunks.FILEPOND_ID], token)
    policy = limits.current_policy() if token is None else limits.policy_of(current_upload_grant(token))
    return responses.success(
        {
            "extensions": list(policy.file_types),
            "types": {extension: file_type.media_type for extension, file_type in policy.file_types.items()},
            "max_file_bytes": policy.max_file_bytes,
            "max_image_pixels": policy.max_image_pixels,
            "max_request_bytes": current_services().settings.max_content_length,
            "max_files": forms.MAX_PARTS,
            "scopes": _scopes(token),
            "ways": list(_ways(policy)),
        }
    )


def _resumable(name: str | None, token: str | None) -> Response | None:
    """Return the response to a request of a resumable upload; ``None`` for any other request.

    :param name: the name in the path or in the query, if there is one.
    :param token: the token from the path, if it is there.
    """
    if not any(field in request.headers for field in RESUMABLE_FIELDS):
        return None
    from ..web import resumable

    return resumable.respond(name, token)


def _ways(policy: Policy) -> Iterator[dict[str, object]]:
    """Yield the ways to upload a file, each with its own limit."""
    settings = current_services().settings
    upload_url = url_for(".form", _external=True)
    yield {
        "name": "form",
        "method": "POST",
        "url": upload_url,
        "field": FILE_FIELD,
        "fields": list(settings.file_fields),
        "max_bytes": limits.max_form_bytes(policy),
    }
    yield {
        "name": "body",
        "method": "PUT",
        "url": upload_url + "/{name}",
        "max_bytes": min(policy.max_file_bytes, settings.max_content_length),
    }
    if url := responses.direct_url():
        yield {"name": "direct", "method": "POST", "url": url, "max_bytes": policy.max_file_bytes}
    if current_services().resumable is not None:
        yield {
            "name": "resumable",
            "method": "POST",
            "url": upload_url,
            "protocols": ["tus-1.0.0", "draft-ietf-httpbis-resumable-upload", "filepond", "dropzone"],
            "max_append_bytes": settings.max_content_length,
            "max_bytes": limits.in_pieces(policy).max_file_bytes,
        }


@blueprint.post("/upload")
@blueprint.post("/upload/t/<token>")
def form(token: str | None = None) -> Response:
    """Store the files of a form: all of them, or none. With ``?filename=`` the body of the request is the file.

    :param token: the token from the path, if it is there.
    """
    if (response := _resumable(request.args.get("filename"), token)) is not None:
        return response
    check_dialect()
    if "filename" in request.args and request.mimetype != forms.MEDIA_TYPE:
        return _store_body(request.args["filename"], token)
    with current_services().intake.begin() as batch:
        # A form without scripts cannot set header fields, so its first part may be the token.
        has_token = token is not None or bearer_token(request) is not None
        authorized = has_token or request.mimetype != forms.MEDIA_TYPE
        if authorized:
            _authorize(batch, token)
        _refuse_piece(chunks.refusal_of_headers(request.headers))
        boundary = forms.boundary_of(request.headers.get("Content-Type", ""))
        content = _open_body()
        reader = _FormReader(batch, authorized=authorized)
        if (response := reader.read(content, boundary)) is not None:
            return response
        return _store(batch, content, reader.fields)


@blueprint.route("/upload/<name>", methods=["PUT", "POST"])
@blueprint.route("/upload/t/<token>/<name>", methods=["PUT", "POST"])
def body(name: str, token: str | None = None) -> Response:
    """Store the body as a file of that name, as ``curl -T`` and ``wget --post-file`` send it.

    :param name: the client's name of the file.
    :param token: the token from the path, if it is there.
    """
    if (response := _resumable(name, token)) is not None:
        return response
    check_dialect()
    return _store_body(name, token)


@blueprint.put("/upload")
@blueprint.put("/upload/t/<token>")
def body_without_name(token: str | None = None) -> Response:
    """Store the body as the file that ``?filename=`` names.

    :param token: the token from the path, if it is there.
    """
    if (response := _resumable(request.args.get("filename"), token)) is not None:
        return response
    check_dialect()
    if "filename" in request.args:
        return _store_body(request.args["filename"], token)
    raise MalformedRequest(
        "The file has no name. Send it to PUT /upload/photo.jpg: curl -T photo.jpg does so if the URL ends in a slash."
    )


def _store_body(name: str, token: str | None) -> Response:
    """Store the body as one file.

    :raises Problem: the client may not upload, or the body is not one whole file.
    """
    with current_services().intake.begin() as batch:
        _authorize(batch, token)
        _refuse_piece(chunks.refusal_of_headers(request.headers) or chunks.refusal_of_fields(request.args))
        if request.mimetype == forms.MEDIA_TYPE:
            # The parts of a form have names of their own, which would contradict the name in the URL.
            raise MalformedRequest(
                "The body is a form, and this URL takes the bytes of a file. Send a form with POST /upload."
            )
        fields = _query_fields()
        content = _open_body()
        incoming = batch.add(name)
        while not batch.refusals and (data := content.read(forms.READ_BYTES)):
            incoming.write(data)
        return _store(batch, content, fields)


def _query_fields() -> MetadataFields:
    """Return the fields in the query of a request whose body is the file.

    :raises MalformedRequest: a field has two values.
    """
    fields = MetadataFields(current_services().settings.metadata_fields)
    for name, value in request.args.items(multi=True):
        if name not in field_names.RESERVED and name not in chunks.FIELDS - fields.names:
            fields.add(name, value)
    return fields


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


def _authorize(batch: Batch, path_token: str | None, *, form_token: str | None = None) -> None:
    """Limit the batch to the files that the client may upload.

    :param path_token: the token from the path.
    :param form_token: the token from the form, if the client sent no other.
    :raises Problem: the client may not upload at all.
    """
    if form_token is None:
        grant = current_upload_grant(path_token)
    else:
        grant = current_grant(form_token)
        grant.require(access.UPLOAD)
    batch.narrow(max_bytes=grant.max_bytes, extensions=grant.extensions)
    g.grant = grant


def _refuse_piece(refusal: str | None) -> None:
    """
    :param refusal: the sentences that refuse a piece of a file; ``None`` if the request holds a whole file.
    :raises MalformedRequest: the request holds a piece.
    """
    if refusal is not None:
        raise MalformedRequest(refusal)


def _open_body() -> DigestStream:
    """Return the body of the request.

    :raises ContentCodingNotSupported: the body is compressed, so the stored file would not be the client's.
    :raises LengthRequired: nothing marks the end of the body.
    :raises MalformedRequest: the idempotency key is not valid.
    """
    if IDEMPOTENCY_KEY in request.headers:
        from ..idempotency import parse_key  # only requests with a key pay for this module

        g.idempotency_key = parse_key(request.headers[IDEMPOTENCY_KEY])
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ContentCodingNotSupported(
            "The request has a Content-Encoding. Send the file as it is, without this field."
        )
    if request.environ.get("wsgi.input_terminated"):
        # At the limit Werkzeug refuses such a body, even if it ends there. One more byte lets it find the end.
        request.max_content_length = current_services().settings.max_content_length + 1
    elif request.content_length is None:
        raise LengthRequired("The request has no Content-Length, so the end of the file is unknown. Send one.")
    return DigestStream(request.stream, request.headers)


def _store(batch: Batch, content: DigestStream, fields: MetadataFields) -> Response:
    """Store the files of the batch.

    :param fields: the fields of the request. Some are kept with every file.
    :returns: the response that describes the stored files.
    :raises Problem: the body has another digest than the client says, or a file was refused or could not be stored.
    """
    if not batch.refusals:  # after a refusal, the rest of the body may not have been read
        content.verify()
    headers = _commit(batch, limits.details_of(g.grant, fields.kept))
    entries = [responses.file_entry(file) for file in g.stored]
    first = entries[0]
    if "url" in first:
        headers["Location"] = first["url"]
    if dialect := requested_dialect():
        return responses.in_dialect(dialect.stored(entries), headers=headers)
    description = {"message": f"Stored {first['name']}.", "files": entries, **fields.ignored}
    if len(entries) > 1:
        description["message"] = f"Stored {len(entries)} files."
    else:
        # Clients of one file look for its URL here: Uppy at 'url', TinyMCE at 'location'.
        description |= {key: first[key] for key in ("url", "location") if key in first}
    return responses.success(description, status=201, headers=headers, page="answer.html")


def _commit(batch: Batch, details: Details) -> dict[str, str]:
    """Store the files of the batch, once for each idempotency key if the request has one.

    :returns: the header fields that say so.
    :raises Problem: a file was refused or could not be stored.
    """
    if "idempotency_key" not in g:
        g.stored = batch.commit(details)
        return {}
    from ..idempotency import IdempotencyKey, StoreOnce

    key = IdempotencyKey(key=g.idempotency_key, subject=g.grant.subject, folder=g.grant.folder)
    g.stored, replayed = StoreOnce(current_services().direct_uploads, key).commit(batch, details)
    return {"Idempotency-Replayed": "true"} if replayed else {}


def _file_fields() -> frozenset[str]:
    """Return the names of the parts in which files are taken. Each stands for its array forms too."""
    dialect = requested_dialect()
    return frozenset((*current_services().settings.file_fields, *(dialect.fields if dialect else ())))


class _FormReader:
    """Reads the parts of a form in their order, and adds its files to a batch.

    :param batch: receives the files.
    :param authorized: whether the batch is limited to the client's rights already. If not, the first file makes the
        reader authorize the client by the form's own token.
    """

    def __init__(self, batch: Batch, *, authorized: bool) -> None:
        self._batch = batch
        self._authorized = authorized
        self._form_token = ""
        self._file_fields = _file_fields()
        self._text_fields: dict[str, None] = {}
        """The parts that have the name of a file but are text, in their order."""
        self._used_fields: set[str] = set()
        """The names of the parts that were files."""
        self._piece_fields = {name: value for name, value in request.args.items() if name in chunks.FIELDS}
        """The fields that mark a piece of a file."""
        self._remaining_bytes = MAX_BYTES_AFTER_REFUSAL
        self._complete: list[IncomingFile] = []
        """The files that were read to their end."""
        self.fields = MetadataFields(current_services().settings.metadata_fields)
        """The other fields of the form."""

    def read(self, content: DigestStream, boundary: bytes) -> Response | None:
        """Read the form to its end.

        :returns: the response to a piece of a file, which is kept; ``None`` if the form has whole files.
        :raises Problem: the form has no file, or holds a piece of a file; or a file of it was refused, and more than
            :data:`MAX_BYTES_AFTER_REFUSAL` followed.
        """
        parts = forms.parts(content, boundary)
        for part, data in parts:
            if part.file_name and self._is_kept_piece(part.name):
                return self._read_piece(part.file_name, data, parts, content)
            if part.file_name:
                self._read_file(part.name, part.file_name, self._limited(data))
            else:
                self._read_field(part, self._limited(data))
        # Some clients send the fields that mark a piece before the file, and some after it.
        self._check_piece_fields()
        self._check_files()
        return None

    def _is_kept_piece(self, field: str) -> bool:
        """Return whether the file of a part is a piece that is put together with others here."""
        return (
            chunks.is_dropzone_piece(self._piece_fields)
            and current_services().resumable is not None
            and not self._used_fields
            and field_names.is_taken(field, self._file_fields)
        )

    def _read_piece(self, file_name: str, data: Iterator[bytes], parts: forms.Parts, content: DigestStream) -> Response:
        """Keep a piece of a file.

        :param parts: the parts after the piece.
        :raises Problem: the client may not upload, or the piece or its file is refused.
        """

        def finish() -> None:
            for part, rest in parts:
                if part.file_name:
                    raise MalformedRequest("The form has two files, and one is a piece. Send each in its own form.")
                self._read_field(part, rest)
            content.verify()

        self._authorize()
        from ..web import dropzone

        return dropzone.place(file_name, data, self._piece_fields, self.fields, finish=finish)

    def _read_file(self, field: str, file_name: str, content: Iterator[bytes]) -> None:
        """Add the file of a part to the batch.

        :raises NoFile: files are not taken from parts of that name.
        :raises Problem: the client may not upload.
        """
        if not field_names.is_taken(field, self._file_fields):
            raise NoFile(
                f"The file came in a part called {field[:MAX_SHOWN_NAME_CHARS]!r}, and no file is taken from there. "
                f"Call the part '{FILE_FIELD}', or add its name to the setting FILE_FIELDS, or name your client in the "
                "URL, as in /upload?for=tinymce."
            )
        self._text_fields.pop(field, None)  # FilePond's metadata: text under the name of the file that follows
        self._used_fields.add(field)
        self._authorize()
        incoming = self._batch.add(file_name)
        for data in content:
            incoming.write(data)
        self._complete.append(incoming)

    def _authorize(self) -> None:
        """Authorize the client by the form's token, before the first file is read."""
        if not self._authorized:
            # An input that nobody filled in sends an empty field.
            _authorize(self._batch, None, form_token=self._form_token.strip() or None)
            self._authorized = True

    def _read_field(self, part: forms.FormPart, content: Iterator[bytes]) -> None:
        """Keep the value of a text part, if it means something here."""
        value = forms.text(content, part.text_encoding)
        if part.file_name is not None:  # a browser's file input in which nothing was chosen
            return
        if part.name == field_names.BEARER_FIELD:
            self._form_token = value
        elif field_names.is_taken(part.name, self._file_fields - {field_names.ANY}):
            self._text_fields[part.name] = None
        else:
            is_piece_field = part.name in chunks.FIELDS
            if is_piece_field:
                self._piece_fields.setdefault(part.name, value)
            if not is_piece_field or part.name in self.fields.names:
                self.fields.add(part.name, value)

    def _check_piece_fields(self) -> None:
        """:raises MalformedRequest: the fields of the form mark a piece of a file."""
        _refuse_piece(chunks.refusal_of_fields(self._piece_fields))

    def _check_files(self) -> None:
        """:raises NoFile: the form has no file, or a part that should be a file is text."""
        unsent = [name for name in self._text_fields if not self._complete or name in (FILE_FIELD, *self._used_fields)]
        if unsent:
            name = unsent[0][:MAX_SHOWN_NAME_CHARS]
            raise NoFile(f"The part '{name}' is text. Send the file: with curl, write -F {name}=@photo.jpg.")
        if not self._complete:
            raise NoFile(f"The form holds no file. Send one in a part called '{FILE_FIELD}'.")

    def _limited(self, content: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the content of a part, and stop the form some time after its first refusal.

        :raises Problem: a file was refused, and more than :data:`MAX_BYTES_AFTER_REFUSAL` followed.
        """
        for data in content:
            yield data
            if self._batch.refusals:
                self._remaining_bytes -= len(data)
                if self._remaining_bytes < 0:
                    self._stop()

    def _stop(self) -> NoReturn:
        """:raises Problem: the refusals of the files that were read."""
        self._check_piece_fields()
        # The batch must not finish the file that is cut off here: its first part would be checked as the whole.
        for incoming in self._complete:
            incoming.finish()
        raise self._batch.refusal()
