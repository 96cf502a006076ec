"""Upload ids: signed values that clients hold while they send a file straight to the storage, so nothing is stored."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Protocol

from itsdangerous import BadSignature

from ..problems import Forbidden, UploadNotFound
from ..signing import timed_signer
from ..storage import path_of

MAX_SECONDS = 24 * 60 * 60
"""The longest time that an upload may take. The bucket's lifecycle rules delete unfinished uploads after a day."""
MAX_CHARS = 4096
RESUMABLE_PREFIX = "r."
"""The beginning of the ids of resumable uploads (:mod:`handler.resumable.upload_ids`), which share their URLs with the
ids here. No id here begins so, because the signed part begins with ``ey``, or with a dot."""

_PURPOSE = "upload id"
_FIELDS = {"upload": "multipart_id"}
"""The fields of :class:`UploadId` that have another name in the signed value. The signed names stay the same in all
versions, so that uploads continue while a new version is deployed."""
_SIGNED_NAMES = {field: name for name, field in _FIELDS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadId:
    """An upload that has begun.

    :param id: the id that the stored file will have.
    :param multipart_id: the id that the storage gave to an upload in parts; empty for a presigned form.
    :param max_bytes: the largest size that the file may have, in bytes.
    :param size: the exact size of the file, in bytes, if the client declared it.
    :param part_bytes: the size of each part except the last, in bytes, if the client declared it.
    :param subject: a hash of the token's ``sub``, if the token has one.
    :param folder: the folder that the stored file will be in, if the token has one.
    """

    id: str
    multipart_id: str
    max_bytes: int
    size: int | None = None
    part_bytes: int | None = None
    subject: str | None = None
    folder: str | None = None

    @property
    def path(self) -> str:
        """The path of the file below ``incoming/`` and ``files/``: see :func:`handler.storage.path_of`."""
        return path_of(self.id, self.folder)

    @property
    def key(self) -> str:
        """The key under which the bytes arrive."""
        return f"incoming/{self.path}"


def sign(upload_id: UploadId, *, secret: bytes) -> str:
    """Return the upload id as text, with a signature, for the client."""
    fields = asdict(upload_id)
    if upload_id.folder is None:
        del fields["folder"]  # a version without folders does not know this member
    members = {_SIGNED_NAMES.get(field, field): value for field, value in fields.items()}
    return timed_signer(secret, purpose=_PURPOSE).sign(members)


def verify(signed: str, *, secret: bytes) -> UploadId:
    """Return the upload id that the client sent.

    :raises UploadNotFound: the text is not one of our upload ids, was changed, or has expired.
    """
    try:
        members = timed_signer(secret, purpose=_PURPOSE).verify(signed[:MAX_CHARS], max_seconds=MAX_SECONDS)
        return UploadId(**{_FIELDS.get(name, name): value for name, value in members.items()})
    except (AttributeError, BadSignature, TypeError):
        raise UploadNotFound() from None


class Owned(Protocol):
    """An upload of either kind, as far as its owner matters. The attributes are those of :class:`UploadId`."""

    @property
    def subject(self) -> str | None: ...

    @property
    def folder(self) -> str | None: ...


def subject_hash(subject: str | None) -> str | None:
    """Return a hash that recognises a subject. Upload ids are in URLs, so they do not hold the subject itself."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest() if subject else None


def check_owner(upload: Owned, *, subject: str | None, folder: str | None) -> None:
    """Check that a client may continue an upload.

    :param subject: the hash of the token's ``sub``, if the token has one.
    :param folder: of the client's token, if the token has one.
    :raises Forbidden: the upload was begun with another ``sub`` or another folder.
    """
    if upload.subject != subject:
        raise Forbidden("This upload was begun with another token. Use a token with the same 'sub'.")
    if upload.folder != folder:
        raise Forbidden("This upload was begun with another token. Use a token with the same 'folder'.")


def check_folder(upload: Owned, folder: str | None) -> None:
    """Check that a client may ask for the status of an upload.

    :param folder: of the client's token; ``None`` for a token without a folder, and without a token.
    :raises Forbidden: the upload is in another folder.
    """
    if folder not in (None, upload.folder):
        raise Forbidden("The token is for another folder. Use a token for the folder of the upload.")
