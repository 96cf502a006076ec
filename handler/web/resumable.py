"""The requests of resumable uploads, in tus 1.0 and in the IETF's draft, and their responses.

The routes and the form's route import this module at the first resumable request, so other requests do not wait for it.
Every response satisfies both protocols, and most of its fields are the same for both.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, after_this_request, current_app, g, request, url_for
from werkzeug.http import http_date

from .. import field_names
from ..direct.declaration import MAX_NAME_CHARS
from ..direct.upload_ids import RESUMABLE_PREFIX
from ..direct.uploads import Pending
from ..problems import (
    ContentCodingNotSupported,
    InconsistentLength,
    MalformedRequest,
    MethodNotAllowed,
    PieceTypeNotSupported,
    Problem,
    RequestTooLarge,
    UploadNotFound,
    UploadRefused,
)
from ..resumable import ietf, tus, uploads
from ..resumable.requests import Creation, Piece
from ..resumable.upload_ids import Flags, ResumableId, expiry, subject_hash
from ..resumable.uploads import UploadState
from ..storage import StoredFile
from ..storage.direct import Declaration, Refused, Stored
from ..storage.resumable import Beginning
from ..units import MIB
from . import chunks, filepond, forms, limits, part_headers, responses
from .grants import asking_folder, current_upload_grant
from .hooks import SEND_INTERIM
from .metadata_fields import MetadataFields
from .piece_content import PieceContent, declared_sha256
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..inspection.policy import FileName, Policy
    from ..resumable.uploads import ResumableService
    from ..storage import Details

PIECE_TYPES = (tus.MEDIA_TYPE, ietf.MEDIA_TYPE)
NAMELESS_STEM = "upload"
TEXT_EXTENSION = "txt"
UNKNOWN_TYPES = ("", "application/octet-stream")
MAX_ID_METADATA_CHARS = 1024
"""The longest ``Upload-Metadata`` that an upload id holds. Longer metadata are stored, and so is the file in pieces."""
CHUNK_BYTES = 4 * MIB
NO_LIMIT = 1 << 62
"""The size at which Werkzeug stops a body that has no ``Content-Length``. The content is counted here."""
INTERIM_VERSIONS = range(5, 9)
"""The interop versions of the draft whose interim responses are like those of version 8, which is that of draft 12."""


def respond(name: str | None, token: str | None) -> Response | None:
    """Return the response to a POST or PUT that begins a resumable upload, or stands for another method.

    :param name: the name in the path; ``None`` without one.
    :param token: the token from the path, if the route has one.
    :returns: ``None`` for any other request: a form, or the body of a file.
    """
    headers = request.headers
    if name is not None and name.startswith(RESUMABLE_PREFIX) and "X-HTTP-Method-Override" in headers:
        return dispatch(name, token)
    is_tus = tus.is_used(headers)
    if not is_tus and not ietf.is_used(headers):
        if (
            request.method == "POST"
            and name is None
            and current_services().resumable is not None
            and chunks.begins_filepond_upload(headers)
        ):
            return filepond.begin(service(), token)
        return None
    is_form = request.mimetype == forms.MEDIA_TYPE
    offered = current_services().resumable is not None
    is_keyed = name is not None and "Idempotency-Key" in headers
    if (is_form or is_keyed or not offered) and not is_tus and ietf.creation(headers).is_complete:
        return None  # the request is whole, and any request may say so
    if not offered:
        raise MalformedRequest("This is a piece of a file, and resumable uploads are not offered here. Send it whole.")
    if is_form:
        raise MalformedRequest(
            "This is a piece of a form, and pieces of forms are not put together here. Send the bytes of the file."
        )
    return _create(name, token)


def _begin_filepond(name: str | None, token: str | None) -> Response | None:
    """Return the response to a POST that begins an upload of FilePond's; ``None`` for any other request."""
    offered = current_services().resumable is not None and name is None and request.method == "POST"
    if not offered or not chunks.begins_filepond_upload(request.headers):
        return None
    _begin_response()
    return filepond.begin(service(), token)


def dispatch(name: str, token: str | None) -> Response:
    """Return the response to a request for an upload. In tus, a header field can name its method.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    method = request.headers.get("X-HTTP-Method-Override", request.method).strip().upper()
    match method:
        case "PATCH":
            return _append_piece(name, token)
        case "DELETE":
            return _cancel(name, token)
        case "HEAD" | "GET":
            return _show(name, token, is_head=method == "HEAD")
        case _:
            raise MethodNotAllowed("An upload takes the methods GET, HEAD, PATCH and DELETE.")


def options() -> Response:
    """Return the limits and the extensions of both protocols."""
    response = current_app.make_default_options_response()
    response.status_code = 204
    response.headers.remove("Content-Type")
    response.headers.remove("Content-Length")
    if current_services().resumable is not None:
        policy = _policy_for_options()
        response.headers.update(
            {
                "Tus-Resumable": tus.VERSION,
                "Tus-Version": tus.VERSION,
                "Tus-Extension": tus.EXTENSIONS,
                "Tus-Max-Size": str(policy.max_file_bytes),
                "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS),
                "Upload-Limit": limits.upload_limit(policy.max_file_bytes),
            }
        )
    return response


def _policy_for_options() -> Policy:
    """Return the policy of the client's token. Preflights have none, and this response is no place for an error."""
    try:
        return limits.current_policy()
    except Problem:
        return current_services().policy


class _NewUpload(NamedTuple):
    """The request that begins an upload, as far as its header tells.

    :param size: of the content, in bytes; ``None`` if the content ends where the client ends it.
    :param length: of the whole file, in bytes, if it is known.
    """

    is_tus: bool
    creation: Creation
    policy: Policy
    file_name: FileName
    flags: Flags
    size: int | None
    length: int | None
    details: Details
    ignored: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether the content is the whole file."""
        return self.creation.is_complete or (self.is_tus and self.size is not None and self.size == self.length)


def _create(name: str | None, token: str | None) -> Response:
    """Begin an upload, with or without content. A file that comes whole is stored at once."""
    new = _read_creation(name, token, is_tus=_begin_response())
    if new.is_whole and not (new.size and _can_send_interim()) and _fits_into_id(new.creation.written_metadata):
        return _store_whole(new)
    declaration = Declaration(
        original_name=new.file_name.original,
        max_bytes=new.policy.max_file_bytes if new.length is None else new.length,
        sha256=declared_sha256(request.headers),
        size=new.length,
        subject=new.details.subject,
        meta=new.details.meta,
        fields=new.details.fields,
        keep_days=new.details.keep_days,
    )
    upload = service().new_upload(declaration, policy=new.policy, folder=new.details.folder, flags=new.flags)
    content = _content(is_whole=new.is_whole)
    begun = service().begin(Beginning(declaration=declaration, metadata=new.creation.written_metadata), upload)
    g.upload_limit = _limit(upload)
    url = url_of(begun.signed)
    _send_interim(url)
    state = UploadState(0, new.length)
    if new.size != 0:
        state = _append(upload, Piece(new.creation.first_piece, new.size), content)
    return respond_with(upload, state, status=201, url=url)


def _read_creation(name: str | None, token: str | None, *, is_tus: bool) -> _NewUpload:
    """Read the header of a request that begins an upload.

    :raises Problem: the client may not upload, or the policy refuses the announced file.
    """
    grant = current_upload_grant(token)
    g.grant = grant
    creation = (tus if is_tus else ietf).creation(request.headers)
    size = _content_size()
    if is_tus and size != 0:
        _check_piece_type()
    policy = limits.policy_of(grant)
    file_name, flags = _name(name, creation, policy)
    length = _announced_length(creation, size)
    if length is not None:
        policy.inspect_size(file_name, length)
    fields = _metadata_fields(creation)
    # With the draft too, tus-js-client 4 in Node takes an upload for complete at its length, and never says so.
    if is_tus or creation.written_metadata:
        flags |= Flags.ENDS_AT_LENGTH
    if creation.written_metadata:
        flags |= Flags.HAS_METADATA
    if _wants_digest():
        flags |= Flags.WANTS_DIGEST
    details = limits.details_of(grant, fields.kept)
    return _NewUpload(is_tus, creation, policy, file_name, flags, size, length, details, fields.ignored)


def _announced_length(creation: Creation, size: int | None) -> int | None:
    """Return the length of the file, which a whole file's content has too.

    :raises InconsistentLength: the content has another length than ``Upload-Length``.
    """
    if creation.is_complete and size is not None:
        if creation.length not in (None, size):
            raise InconsistentLength("The content and Upload-Length have different lengths. Send the same length.")
        return size
    return creation.length


def _name(name: str | None, creation: Creation, policy: Policy) -> tuple[FileName, Flags]:
    """Return the name of the file, if the policy accepts it and the media type.

    The name comes from the path, from ``Content-Disposition``, or from tus's metadata. A media type can stand for the
    name: then the name has the first extension of that type. RFC 9110, section 8.3, lets a recipient examine content
    without a type. So a file without name and type is taken for a text, and the check of texts decides.

    :raises MalformedRequest: the file has neither a name nor a media type that is allowed.
    :raises TypeNotAllowed: the extension or the media type is not allowed.
    """
    metadata = creation.metadata
    media_type = metadata.get("filetype") or metadata.get("type") or ""
    if not media_type and request.mimetype not in PIECE_TYPES:
        media_type = request.headers.get("Content-Type", "")
    given = name or _disposition_name() or metadata.get("filename") or metadata.get("name")
    flags = Flags(0)
    if not given:
        bare_type = media_type.partition(";")[0].strip().lower()
        flags = Flags.NAMELESS if bare_type in UNKNOWN_TYPES else flags
        given = f"{NAMELESS_STEM}.{_extension(bare_type, policy)}"
    if len(given) > MAX_NAME_CHARS:
        raise MalformedRequest(f"The name of the file has more than {MAX_NAME_CHARS:,} characters. Send a shorter one.")
    file_name = policy.inspect_name(given)
    if media_type:
        policy.inspect_media_type(file_name, media_type)
    return file_name, flags


def _extension(media_type: str, policy: Policy) -> str:
    """Return the first allowed extension of a media type. An unknown type counts as text.

    :raises MalformedRequest: no extension of this type is allowed.
    """
    for extension, file_type in policy.file_types.items():
        if file_type.media_type == media_type or (media_type in UNKNOWN_TYPES and extension == TEXT_EXTENSION):
            return extension
    raise MalformedRequest(
        "The file has no name. Send it as Content-Disposition: inline; filename=\"photo.jpg\", as 'filename' in "
        "Upload-Metadata, or with PUT /upload/photo.jpg."
    )


def _disposition_name() -> str | None:
    field = request.headers.get("Content-Disposition")
    return part_headers.file_name_in(field) if field else None


def _metadata_fields(creation: Creation) -> MetadataFields:
    """Return the fields of a request: the pairs of tus's metadata, and the query.

    :raises MalformedRequest: a field has two values.
    """
    fields = MetadataFields(current_services().settings.metadata_fields)
    fields.add_metadata(dict(creation.metadata))
    for name, value in request.args.items(multi=True):
        if name not in field_names.RESERVED and name not in chunks.FIELDS - fields.names:
            fields.add(name, value)
    return fields


def _store_whole(new: _NewUpload) -> Response:
    """Store a file that came whole, as any other body is stored.

    :raises Problem: the file is refused, or its content has another length or another digest than the request says.
    """
    content = _content(is_whole=True)
    with current_services().intake.begin() as batch:
        batch.narrow(max_bytes=new.policy.max_file_bytes, extensions=frozenset(new.policy.file_types))
        incoming = batch.add(new.file_name.original)
        for data in content:
            incoming.write(data)
            if batch.refusals:
                break
        if not batch.refusals:
            content.verify()
            if new.length not in (None, content.size):
                raise InconsistentLength("The content has another length than Upload-Length. Send the same length.")
        try:
            (file,) = batch.commit(new.details)
        except Problem as problem:
            raise uploads.with_reason(new.flags, problem) from None
    upload = ResumableId(
        id=file.id,
        max_bytes=new.policy.max_file_bytes,
        expires=expiry(),
        length=file.size,
        subject=subject_hash(new.details.subject),
        folder=file.folder,
        flags=new.flags | Flags.STORED,
        metadata=new.creation.written_metadata,
    )
    g.upload_limit = _limit(upload)
    state = UploadState(file.size, file.size, Stored(file))
    return respond_with(upload, state, status=201, url=url_of(service().sign(upload)), ignored=new.ignored)


def _append_piece(name: str, token: str | None) -> Response:
    """Append a piece to an upload.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    is_tus = _begin_response()
    upload = _resume(name, token)
    is_filepond = Flags.NAMED_LATER in upload.flags
    if not (request.mimetype == "" and not is_tus and (ietf.interop_version(request.headers) or 6) < 6):
        _check_piece_type()
    size = _content_size()
    piece = Piece((tus if is_tus or is_filepond else ietf).append(request.headers), size)
    content = _content(is_whole=False)
    state = filepond.append(service(), upload, piece, content) if is_filepond else _append(upload, piece, content)
    return respond_with(upload, state, status=204)


def _show(name: str, token: str | None, *, is_head: bool) -> Response:
    """Return the state of an upload: as header fields, and for a GET as JSON too.

    :param name: the upload id. For a GET, it is enough: no token is needed.
    :param token: the token from the path, if the route has one.
    """
    _begin_response()
    if "Upload-Offset" in request.headers or "Upload-Complete" in request.headers:
        raise MalformedRequest("A request for the offset must not have Upload-Offset or Upload-Complete. Omit them.")
    upload = _resume(name, token) if is_head else _find(name, token)
    state = service().state(upload)
    if is_head and isinstance(state.verdict, Refused):
        raise UploadRefused()
    headers = _state_fields(upload, state)
    if metadata := service().metadata(upload):
        headers["Upload-Metadata"] = metadata
    if is_head:
        return responses.nothing(headers=headers)
    return responses.success({"id": upload.id, **_status(state)}, headers=headers)


def _cancel(name: str, token: str | None) -> Response:
    """End an upload, and delete its bytes.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    _begin_response()
    service().cancel(_resume(name, token))
    return responses.nothing()


def _begin_response() -> bool:
    """Add the fields that every response has, and return whether the request follows tus.

    :raises PreconditionFailed: the client uses another version of tus.
    """
    after_this_request(_add_fields)
    is_tus = tus.is_used(request.headers)
    if is_tus:
        tus.check_version(request.headers)
    return is_tus


def _add_fields(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Cache-Control", "no-store")
    if tus.is_used(request.headers):
        headers["Tus-Resumable"] = tus.VERSION
    if (version := ietf.interop_version(request.headers)) is not None:
        headers["Upload-Draft-Interop-Version"] = str(version)
    headers.setdefault("Upload-Limit", g.get("upload_limit") or limits.upload_limit(limits.max_file_bytes()))
    problem: Problem | None = g.get("problem")
    if problem is not None and not isinstance(problem, UploadNotFound):
        # The draft: ?1 if the file was refused, so nothing is left to send; ?0 if the request was refused.
        headers.setdefault("Upload-Complete", "?1" if problem.errors else "?0")
    return response


def _content_size() -> int | None:
    """Return the size of the content, in bytes; ``None`` if the content ends where the client ends it.

    :raises ContentCodingNotSupported: the content is compressed.
    :raises RequestTooLarge: the content is larger than a request may be.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ContentCodingNotSupported(
            "The request has a Content-Encoding. Send the file as it is, without this field."
        )
    if request.content_length is None:
        return None if request.environ.get("wsgi.input_terminated") else 0
    if request.content_length > current_services().settings.max_content_length:
        raise _too_large()
    return request.content_length


def _content(*, is_whole: bool) -> PieceContent:
    """Return the content of the request.

    :param is_whole: the content is the whole file.
    """
    max_bytes = current_services().settings.max_content_length
    request.max_content_length = NO_LIMIT  # the content is counted here
    return PieceContent(request.stream, request.headers, is_whole=is_whole, max_bytes=max_bytes, too_large=_too_large)


def _too_large() -> RequestTooLarge:
    """Return the problem with a request over the limit: tus-js-client and Uppy send the whole file by default."""
    max_bytes = current_services().settings.max_content_length
    chunk = "4 * 2**20" if max_bytes >= CHUNK_BYTES else str(max_bytes)
    return RequestTooLarge(
        f"The request is larger than {max_bytes:,} bytes. Send the file in smaller pieces: chunkSize: {chunk}.",
        max_bytes=max_bytes,
    )


def _check_piece_type() -> None:
    """:raises PieceTypeNotSupported: the content is not a piece by its media type."""
    if request.mimetype not in PIECE_TYPES:
        raise PieceTypeNotSupported(f"A piece has the Content-Type {' or '.join(PIECE_TYPES)}. Send one of them.")


def _append(upload: ResumableId, piece: Piece, content: PieceContent) -> UploadState:
    verify = content.verify if content.has_digests else None
    return service().append(upload, piece, iter(content), verify=verify)


def _resume(name: str, token: str | None) -> ResumableId:
    """Return the upload of a client that continues it.

    :raises Problem: the client may not upload, or the upload is not the client's, or does not exist.
    """
    grant = current_upload_grant(token)
    g.grant = grant
    upload = service().resume(name, subject=grant.subject, folder=grant.folder)
    g.upload_limit = _limit(upload)
    return upload


def _find(name: str, token: str | None) -> ResumableId:
    """Return the upload of a client that asks for its status: see :func:`handler.web.grants.asking_folder`."""
    upload = service().find(name, folder=asking_folder(token))
    g.upload_limit = _limit(upload)
    return upload


def respond_with(
    upload: ResumableId,
    state: UploadState,
    *,
    status: int,
    url: str | None = None,
    ignored: Mapping[str, Any] | None = None,
) -> Response:
    """Return the response to a request that begins or continues an upload.

    :param status: of the response while bytes may arrive.
    :param url: of the upload, if the request began it.
    :param ignored: see :attr:`~handler.web.metadata_fields.MetadataFields.ignored`.
    """
    headers = _state_fields(upload, state)
    if url is not None:
        headers["Location"] = url
    match state.verdict:
        case Stored(file):
            g.stored = [file]
            body = _stored_body(file) | dict(ignored or {})
            if url is None and "url" in body:
                headers["Location"] = body["url"]
            if file.sha256 and Flags.WANTS_DIGEST in upload.flags:
                digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
                headers["Repr-Digest"] = f"sha-256=:{digest}:"
            return responses.success(body, status=201, headers=headers)
        case Pending():
            named = request.args.get(chunks.FILEPOND_ID)
            return checking(request.url if named is None else url_of(named), headers)
        case _:
            return responses.nothing(status=status, headers=headers)


def checking(url: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to the last piece of a file that an event promotes.

    :param url: at which the client can ask for the verdict.
    """
    body = {"message": "The file is being checked.", "location": url, "status": url}
    return responses.success(body, status=202, headers={**(headers or {}), "Location": url})


def _state_fields(upload: ResumableId, state: UploadState) -> dict[str, str]:
    """Return the fields of a state, for both protocols."""
    headers = {"Upload-Offset": str(state.offset), "Upload-Complete": "?0" if state.verdict is None else "?1"}
    if state.length is not None:
        headers["Upload-Length"] = str(state.length)
    elif Flags.ENDS_AT_LENGTH in upload.flags:
        headers["Upload-Defer-Length"] = "1"
    if state.verdict is None:
        headers["Upload-Expires"] = http_date(upload.expires)
    return headers


def _status(state: UploadState) -> dict[str, Any]:
    """Return the members that describe a state: as those of a direct upload, and of a stored file."""
    match state.verdict:
        case Stored(file):
            g.stored = [file]
            body = _stored_body(file)
            return body | {"status": "stored", "file": body["files"][0]}
        case Refused(problem):
            return {"status": "refused", "problem": problem}
        case _:
            return {"status": "pending"}


def _stored_body(file: StoredFile) -> dict[str, Any]:
    entry: dict[str, Any] = responses.file_entry(file)
    body: dict[str, Any] = {"message": f"Stored {file.name}.", "files": [entry]}
    return body | {key: entry[key] for key in ("url", "location") if key in entry}


def _can_send_interim() -> bool:
    """Return whether the client waits for an interim response, and the server can send one.

    Some clients take 104 for the last response (Python's ``http.client``), so only those that name a version of the
    draft get one. URLSession does.
    """
    return SEND_INTERIM in request.environ and ietf.interop_version(request.headers) in INTERIM_VERSIONS


def _send_interim(url: str) -> None:
    """Send the URL of the upload, before the content is read, so that the client can resume after an interruption.

    The offsets of later interim responses would promise that nothing is lost, so the bytes would have to be durable.
    They are not before the last one, so no such responses are sent.
    """
    if _can_send_interim() and not tus.is_used(request.headers):
        version = str(ietf.interop_version(request.headers))
        fields = [("Location", url), ("Upload-Limit", g.upload_limit), ("Upload-Draft-Interop-Version", version)]
        request.environ[SEND_INTERIM](104, fields)


def _fits_into_id(metadata: str | None) -> bool:
    return len(metadata or "") <= MAX_ID_METADATA_CHARS


def _wants_digest() -> bool:
    return "sha-256" in request.headers.get("Want-Repr-Digest", "")


def _limit(upload: ResumableId) -> str:
    return limits.upload_limit(upload.max_bytes, seconds=upload.remaining_seconds)


def url_of(signed: str) -> str:
    """Return the URL of an upload."""
    return url_for("resumable.upload", name=signed, _external=True)


def service() -> ResumableService:
    """Return the operations on resumable uploads.

    :raises UploadNotFound: there are none.
    """
    make = current_services().resumable
    if make is None:
        raise UploadNotFound()
    return make()
