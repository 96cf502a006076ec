"""The ids of resumable uploads: signed values in the URL of an upload, so that no request must look them up."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from enum import IntFlag
from typing import NamedTuple

from itsdangerous import BadSignature

from ..direct import upload_ids
from ..direct.upload_ids import MAX_CHARS, MAX_SECONDS, RESUMABLE_PREFIX
from ..problems import UploadNotFound
from ..signing import timed_signer
from ..storage import path_of

_PURPOSE = "resumable upload id"
_SUBJECT_CHARS = 32
ID_CHARS = 32
"""The length of every id: see :func:`handler.storage.new_id`."""


class Flags(IntFlag):
    """Facts about an upload that its id holds."""

    ENDS_AT_LENGTH = 1
    """The upload is complete as soon as its length has arrived, as tus has it. Else the client says when."""
    NAMELESS = 2
    """The client sent neither a name nor a type for the file, so the file is taken for a text."""
    HAS_METADATA = 4
    """The client sent an ``Upload-Metadata``."""
    WANTS_DIGEST = 8
    """The client wants the SHA-256 of the file in the last response."""
    STORED = 16
    """The file came whole with the first request, and was stored then."""
    NAMED_LATER = 32
    """The name of the file comes with the first piece, as FilePond sends it. The upload begins then."""
    PLACED = 64
    """The pieces come in any order, as Dropzone sends them."""
    HAS_IGNORED = 128
    """The client sent fields that are not kept with the file."""


class ResumableId(NamedTuple):
    """A resumable upload that has begun.

    :param id: the id that the stored file will have.
    :param max_bytes: the largest size that the file may have, in bytes.
    :param expires: the time after which the upload takes no bytes, in seconds since 1970.
    :param length: the announced length of the file, in bytes; ``None`` if the client did not announce one yet.
    :param subject: a hash of the token's ``sub``, if the token has one.
    :param folder: the folder that the stored file will be in, if the token has one.
    :param metadata: the ``Upload-Metadata`` of a file that was stored at once.
    :param fields: the form fields that are kept with a file whose name comes later.
    """

    id: str
    max_bytes: int
    expires: int
    length: int | None = None
    subject: str | None = None
    folder: str | None = None
    flags: Flags = Flags(0)
    metadata: str | None = None
    fields: Mapping[str, str] | None = None

    @property
    def path(self) -> str:
        """The path of the file below ``chunks/`` and ``files/``: see :func:`handler.storage.path_of`."""
        return path_of(self.id, self.folder)

    @property
    def is_stored(self) -> bool:
        """Whether the file came whole with the first request, and was stored then."""
        return Flags.STORED in self.flags

    @property
    def remaining_seconds(self) -> int:
        """The number of seconds for which the upload still takes bytes."""
        return max(0, self.expires - int(time.time()))


def sign(upload: ResumableId, *, secret: bytes) -> str:
    """Return the upload id as text, with a signature, for the client."""
    return RESUMABLE_PREFIX + timed_signer(secret, purpose=_PURPOSE).sign(list(upload))


def verify(signed: str, *, secret: bytes) -> ResumableId:
    """Return the upload id that the client sent.

    :raises UploadNotFound: the text is not one of our upload ids, was changed, or has expired.
    """
    try:
        text = signed[:MAX_CHARS].removeprefix(RESUMABLE_PREFIX)
        upload = ResumableId(*timed_signer(secret, purpose=_PURPOSE).verify(text, max_seconds=MAX_SECONDS))
        return upload._replace(flags=Flags(upload.flags))
    except (BadSignature, TypeError):
        raise UploadNotFound() from None


def derived_id(*parts: str | int | None, secret: bytes) -> str:
    """Return the id of an upload that these parts name: the same parts have the same id, and nobody can guess the id.

    :param secret: the key, which all processes share.
    """
    return hmac.new(secret, json.dumps([_PURPOSE, *parts]).encode(), hashlib.sha256).hexdigest()[:ID_CHARS]


def expiry() -> int:
    """Return the time at which an upload that begins now expires, in seconds since 1970."""
    return int(time.time()) + MAX_SECONDS


def subject_hash(subject: str | None) -> str | None:
    """Return the first characters of :func:`handler.direct.upload_ids.subject_hash`, which suffice."""
    digest = upload_ids.subject_hash(subject)
    return None if digest is None else digest[:_SUBJECT_CHARS]
