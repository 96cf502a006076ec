"""Dropzone's pieces (``chunking: true``): forms with one piece each, in any order and several at once.

The pieces hold all facts about the upload, so nothing is looked up: the id is a signature of these facts
(:func:`handler.resumable.upload_ids.derived_id`). The token, the size of the file and its name are checked with every
piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flask import g

from ..direct.uploads import Pending
from ..resumable.dropzone import DropzonePiece, piece_of
from ..resumable.upload_ids import Flags, ResumableId, expiry, subject_hash
from ..storage.resumable import Beginning
from . import limits, resumable_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from .metadata_fields import MetadataFields


def place(
    file_name: str,
    data: Iterator[bytes],
    piece_fields: Mapping[str, str],
    fields: MetadataFields,
    *,
    finish: Callable[[], None],
) -> Response:
    """Keep a piece. With the last missing piece, store the file.

    :param file_name: the client's name of the file.
    :param data: the content of the piece.
    :param piece_fields: the fields that describe the piece.
    :param fields: the other fields of the form. Some are kept with the file.
    :param finish: reads the rest of the request. If it raises, the piece is not kept.
    :raises Problem: the piece or the file is refused.
    """
    piece = piece_of(piece_fields)
    service = resumable_messages.service()
    policy = limits.in_pieces(limits.policy_of(g.grant))
    name = policy.inspect_name(file_name)
    service.check_length(piece.length, policy)
    policy.inspect_size(name, piece.length)
    declaration = limits.declaration_of(g.grant, original_name=name.original, size=piece.length, fields=fields.kept)
    subject = subject_hash(g.grant.subject)
    upload = ResumableId(
        id=service.derived_id(subject, g.grant.folder, piece.uuid, piece.length, piece.chunk_bytes, file_name),
        max_bytes=policy.max_file_bytes,
        expires=expiry(),
        length=piece.length,
        subject=subject,
        folder=g.grant.folder,
        flags=Flags.PLACED,
    )
    content = _content(piece, data, finish)
    state = service.place(upload, Beginning(declaration=declaration), piece.offset, content)
    for _ in content:  # of a repeated piece: the client sends the rest before it reads the response
        pass
    if isinstance(state.verdict, Pending):
        return resumable_messages.checking(resumable_messages.url_of(service.sign(upload)))
    return resumable_messages.respond_with(upload, state, status=204, ignored=fields.ignored_names)


def _content(piece: DropzonePiece, data: Iterator[bytes], finish: Callable[[], None]) -> Iterator[bytes]:
    """Yield the content of a piece, and read the rest of the request after it."""
    yield from piece.content(data)
    finish()
