"""Upload ids: what a client holds while it sends a file straight to the storage. Signed, so that nothing is stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from itsdangerous import BadSignature

from ..problems import UploadNotFound
from ..signing import TimedSigner

MAX_SECONDS = 24 * 60 * 60
"""How long an upload may take. A day later the bucket's lifecycle rules remove what is not complete."""
MAX_CHARS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadId:
    """An upload that was begun.

    :param id: of the file that it is to become.
    :param upload: what the storage calls it.
    :param max_bytes: the most that the file may hold; its very size, if the client said so.
    :param size: in bytes, if the client said so.
    :param part_bytes: what each part but the last one holds, if the client said so.
    :param subject: who began it, if its token said so.
    """

    id: str
    upload: str
    max_bytes: int
    size: int | None = None
    part_bytes: int | None = None
    subject: str | None = None


def sign(upload_id: UploadId, *, secret: bytes) -> str:
    """Return the upload id as the client holds it."""
    return _signer(secret).sign(asdict(upload_id))


def verify(signed: str, *, secret: bytes) -> UploadId:
    """The upload that it stands for.

    :raises UploadNotFound: it is not one of ours, was changed, or has expired.
    """
    try:
        return UploadId(**_signer(secret).verify(signed[:MAX_CHARS], max_seconds=MAX_SECONDS))
    except (BadSignature, TypeError):
        raise UploadNotFound() from None


def _signer(secret: bytes) -> TimedSigner:
    return TimedSigner(secret, purpose="upload id")
