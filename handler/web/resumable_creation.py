"""The request that begins a resumable upload, in tus 1.0 and in the IETF's draft, with or without content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask import Response, g, request

from .. import field_names
from ..direct.declaration import MAX_NAME_CHARS
from ..idempotency import IdempotencyKey, StoreOnce, parse_key
from ..problems import InconsistentLength, MalformedRequest, Problem
from ..resumable import ietf, tus, uploads
from ..resumable.requests import Creation, Piece
from ..resumable.upload_ids import Flags, ResumableId, expiry, subject_hash
from ..resumable.uploads import UploadState
from ..storage import StoredFile
from ..storage.direct import Declaration, Stored
from ..storage.resumable import Beginning
from . import chunks, limits, part_headers
from .grants import current_upload_grant
from .hooks import SEND_INTERIM
from .metadata_fields import MetadataFields
from .piece_content import PieceContent, declared_sha256
from .resumable_messages import (
    PIECE_TYPES,
    begin_response,
    check_piece_type,
    content_of_request,
    content_size,
    limit_of,
    respond_with,
    service,
    url_of,
)
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..inspection.policy import FileName, Policy
    from ..intake import Batch
    from ..storage import Details

IDEMPOTENCY_KEY = "Idempotency-Key"
NAMELESS_STEM = "upload"
TEXT_EXTENSION = "txt"
UNKNOWN_TYPES = ("", "application/octet-stream")
MAX_ID_METADATA_CHARS = 1024
"""The longest ``Upload-Metadata`` that an upload id holds. Longer metadata are stored, and so is the file in pieces."""
INTERIM_VERSIONS = range(5, 9)
"""The interop versions of the draft whose interim responses are like those of version 8, which is that of draft 12."""


class _NewUpload(NamedTuple):
    """The request that begins an upload, as its header fields describe it.

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
    ignored: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the content is the whole file."""
        return self.creation.is_complete or (self.is_tus and self.size is not None and self.size == self.length)


def create(name: str | None, token: str | None) -> Response:
    """Begin an upload, with or without content. A file that comes whole is stored at once."""
    new = _read_creation(name, token, is_tus=begin_response())
    key = _idempotency_key(new.details)
    if new.is_whole and not (new.size and _can_send_interim()) and _fits_into_id(new.creation.written_metadata):
        return _store_whole(new, key)
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
    content = content_of_request(is_whole=new.is_whole)
    beginning = Beginning(declaration=declaration, metadata=new.creation.written_metadata, ignored=new.ignored)
    earlier = None
    if key is None:
        service().begin(beginning, upload)
    else:
        upload = upload._replace(id=service().derived_id(IDEMPOTENCY_KEY, key.subject, key.folder, key.key))
        earlier = service().begin_or_find(beginning, upload)
    g.upload_limit = limit_of(upload)
    url = url_of(service().sign(upload))
    _send_interim(url)
    state = _append_first(upload, new, content, earlier or UploadState(0, new.length))
    response = respond_with(upload, state, status=201, url=url)
    return response if earlier is None else _replayed(response)


def _append_first(upload: ResumableId, new: _NewUpload, content: PieceContent, state: UploadState) -> UploadState:
    """Append the content of a request that begins an upload, except the bytes that an earlier try has appended.

    :param state: of the upload before this request.
    """
    is_rest = new.size is None or new.size > state.offset or (new.creation.is_complete and new.size == state.offset)
    if state.verdict is not None or not is_rest:
        return state
    append = new.creation.first_piece._replace(offset=state.offset)
    size = None if new.size is None else new.size - state.offset
    return service().append(
        upload,
        Piece(append, size),
        _without(content, state.offset),
        verify=content.verify if content.has_digests else None,
    )


def _without(content: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the content without its first bytes.

    :param size: the number of these bytes.
    """
    for data in content:
        if len(data) > size:
            yield data[size:]
        size = max(0, size - len(data))


def _idempotency_key(details: Details) -> IdempotencyKey | None:
    """Return the ``Idempotency-Key`` of the request, for this client; ``None`` without the field.

    :raises MalformedRequest: the key is not valid.
    """
    if IDEMPOTENCY_KEY not in request.headers:
        return None
    key = parse_key(request.headers[IDEMPOTENCY_KEY])
    return IdempotencyKey(key=key, subject=details.subject, folder=details.folder)


def _replayed(response: Response) -> Response:
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _read_creation(name: str | None, token: str | None, *, is_tus: bool) -> _NewUpload:
    """Read the header of a request that begins an upload.

    :raises Problem: the client may not upload, or the policy refuses the announced file.
    """
    grant = current_upload_grant(token)
    g.grant = grant
    tus.check_concatenation(request.headers)
    creation = (tus if is_tus else ietf).creation(request.headers)
    size = content_size()
    if is_tus and size != 0:
        check_piece_type()
    policy = limits.in_pieces(limits.policy_of(grant))
    file_name, flags = _name(name, creation, policy)
    length = _announced_length(creation, size)
    if length is not None:
        service().check_length(length, policy)
        policy.inspect_size(file_name, length)
    fields = _metadata_fields(creation)
    # With the draft too, tus-js-client 4 in Node takes an upload for complete at its length, and never says so.
    if is_tus or creation.written_metadata:
        flags |= Flags.ENDS_AT_LENGTH
    if creation.written_metadata:
        flags |= Flags.HAS_METADATA
    if fields.ignored_names:
        flags |= Flags.HAS_IGNORED
    if _wants_digest():
        flags |= Flags.WANTS_DIGEST
    details = limits.details_of(grant, fields.kept)
    return _NewUpload(is_tus, creation, policy, file_name, flags, size, length, details, fields.ignored_names)


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


def _store_whole(new: _NewUpload, key: IdempotencyKey | None) -> Response:
    """Store a file that came whole, as any other body is stored: with a key, once.

    :raises Problem: the file is refused, or its content has another length or another digest than the request says.
    """
    content = content_of_request(is_whole=True)
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
            file, is_replayed = _commit(batch, new.details, key)
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
    g.upload_limit = limit_of(upload)
    state = UploadState(file.size, file.size, Stored(file))
    response = respond_with(upload, state, status=201, url=url_of(service().sign(upload)), ignored=new.ignored)
    return _replayed(response) if is_replayed else response


def _commit(batch: Batch, details: Details, key: IdempotencyKey | None) -> tuple[StoredFile, bool]:
    """Store the file of the batch, and return whether an earlier request with the key had stored it.

    :raises Problem: the file was refused or could not be stored.
    """
    if key is None:
        (file,), is_replayed = batch.commit(details), False
    else:
        (file,), is_replayed = StoreOnce(current_services().direct_uploads, key).commit(batch, details)
    return file, is_replayed


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
