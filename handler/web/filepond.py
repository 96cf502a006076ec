"""FilePond's pieces (``chunkUploads: true``): an upload without a name, whose name comes with the first piece.

filepond 4.32.12 sends these requests, one after the other, and repeats each that fails:

- ``POST``, with ``Upload-Length`` and a form of its metadata. The response is the upload id, as text.
- ``PATCH`` for each piece, with ``Upload-Offset``, ``Upload-Length`` and ``Upload-Name``, at ``/upload/<upload id>`` or
  at ``/upload?patch=<upload id>``. A file of whole pieces has a last piece without a byte.
- ``HEAD`` of the same URL, if a person starts a failed upload again. All pieces that begin before ``Upload-Offset``
  then count as complete, so a piece is kept whole or not at all.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from flask import Response, g, request

from ..problems import MalformedRequest
from ..resumable import fields
from ..resumable.upload_ids import Flags, ResumableId, expiry, subject_hash
from ..storage import new_id
from ..storage.resumable import Beginning
from . import forms, limits, responses
from .digests import DigestStream
from .grants import current_upload_grant
from .metadata_fields import MetadataFields
from .services import current_services

if TYPE_CHECKING:
    from ..resumable.requests import Piece
    from ..resumable.uploads import ResumableService, UploadState
    from .piece_content import PieceContent

MAX_NAME_CHARS = 1024


def begin(service: ResumableService, token: str | None) -> Response:
    """Begin an upload: return its id. Nothing is stored before the first piece.

    :param token: the token from the path, if the route has one.
    :raises Problem: the client may not upload, or the file is too large.
    """
    grant = current_upload_grant(token)
    g.grant = grant
    length = fields.integer(request.headers.get("Upload-Length"))
    if length is None:
        raise MalformedRequest("Upload-Length is not a whole number of bytes. Send the size of the file.")
    max_bytes = limits.in_pieces(limits.policy_of(grant)).max_file_bytes
    if length > max_bytes:
        raise service.too_large(max_bytes)
    kept = _kept_fields()
    limits.details_of(grant, kept)  # checks that they are not too large
    upload = ResumableId(
        id=new_id(),
        max_bytes=max_bytes,
        expires=expiry(),
        length=length,
        subject=subject_hash(grant.subject),
        folder=grant.folder,
        flags=Flags.ENDS_AT_LENGTH | Flags.NAMED_LATER,
        fields=kept or None,
    )
    return Response(service.sign(upload), 201, mimetype=responses.TEXT)


def _kept_fields() -> dict[str, str]:
    """Return the fields of the form that are kept with the file. The body can also be empty.

    :raises MalformedRequest: the body is something else, or the form has a file.
    """
    kept = MetadataFields(current_services().settings.metadata_fields)
    if request.mimetype != forms.MEDIA_TYPE:
        if request.content_length:
            raise MalformedRequest(
                "The header field Upload-Length announces a file in pieces, so the body must be a form without a file. "
                "Omit the field to send a whole file."
            )
        return {}
    content = DigestStream(request.stream, request.headers)
    for part, data in forms.parts(content, forms.boundary_of(request.headers.get("Content-Type", ""))):
        if part.file_name:
            raise MalformedRequest(
                "The header field Upload-Length announces a file in pieces, and the form has a file. Omit the field to "
                "send a whole file."
            )
        value = forms.text(data, part.text_encoding)
        if part.name in kept.names:
            kept.add(part.name, value)
    content.verify()
    return kept.kept


def append(service: ResumableService, upload: ResumableId, piece: Piece, content: PieceContent) -> UploadState:
    """Append a piece. The upload begins with the first one, which has the name of the file.

    :raises Problem: as :meth:`~handler.resumable.uploads.ResumableService.append_whole`.
    """
    if piece.append.offset == 0:
        policy = limits.policy_of(g.grant)
        name = policy.inspect_name(_name())
        policy.inspect_size(name, upload.length or 0)
        declaration = limits.declaration_of(
            g.grant, original_name=name.original, size=upload.length or 0, fields=upload.fields
        )
        service.begin_once(Beginning(declaration=declaration), upload)
    return service.append_whole(upload, piece, iter(content), verify=content.verify)


def _name() -> str:
    """Return the name of the file. FilePond sends it as UTF-8, which a server reads as latin-1 (PEP 3333).

    :raises MalformedRequest: the name is missing or too long.
    """
    name = request.headers.get("Upload-Name", "")
    # A gateway may have decoded the bytes as latin-1, so that their text is encoded twice. A name in latin-1, from
    # another client, stays as it is.
    for _ in range(2):
        with suppress(UnicodeError):
            name = name.encode("latin-1").decode("utf-8")
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise MalformedRequest(
            f"The first piece has no name, or one of more than {MAX_NAME_CHARS:,} characters. Send Upload-Name."
        )
    return name
