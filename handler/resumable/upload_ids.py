"""The ids of resumable uploads: signed values in the URL of an upload, so that no request must look them up."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

from itsdangerous import BadSignature

from ..direct.upload_ids import MAX_CHARS, MAX_SECONDS, RESUMABLE_PREFIX
from ..problems import UploadNotFound
from ..signing import timed_signer
from ..storage import path_of

_PURPOSE = "resumable upload id"
_SUBJECT_CHARS = 32


class ResumableId(NamedTuple):
    """A resumable upload that has begun.

    :param id: the id that the stored file will have.
    :param max_bytes: the largest size that the file may have, in bytes.
    :param expires: the time after which the upload takes no bytes, in seconds since 1970.
    :param length: the announced length of the file, in bytes; ``None`` if the client did not announce one yet.
    :param subject: a hash of the token's ``sub``, if the token has one.
    :param folder: the folder that the stored file will be in, if the token has one.
    :param ends_at_length: the upload is complete as soon as its length has arrived, as tus has it. Otherwise the client
        says when it is complete.
    :param is_nameless: the client sent no name for the file, and no type, so it is taken for a text.
    :param is_stored: the file came whole with the first request, and was stored then.
    """

    id: str
    max_bytes: int
    expires: int
    length: int | None = None
    subject: str | None = None
    folder: str | None = None
    ends_at_length: bool = False
    is_nameless: bool = False
    is_stored: bool = False

    @property
    def path(self) -> str:
        """The path of the file below ``chunks/`` and ``files/``: see :func:`handler.storage.path_of`."""
        return path_of(self.id, self.folder)

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
        return ResumableId(*timed_signer(secret, purpose=_PURPOSE).verify(text, max_seconds=MAX_SECONDS))
    except (BadSignature, TypeError):
        raise UploadNotFound() from None


def expiry() -> int:
    """Return the time at which an upload that begins now expires, in seconds since 1970."""
    return int(time.time()) + MAX_SECONDS


def subject_hash(subject: str | None) -> str | None:
    """Return a hash that recognises a subject. Upload ids are in URLs, so they do not hold the subject itself."""
    if not subject:
        return None
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:_SUBJECT_CHARS]
