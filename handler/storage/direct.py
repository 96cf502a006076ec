"""Direct uploads: the interface of a storage to which clients send bytes without the app in between.

The bytes arrive under ``incoming/<path>``, where nobody can read them. :mod:`handler.direct.promotion` pins and checks
the bytes, and copies them to ``files/<path>/<name>`` or refuses them. Each path has one verdict, and the first verdict
is final. A path is the file's id, after its folder if it has one (:func:`handler.storage.path_of`). So the event of an
object names the folder, and no call is needed to find it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..problems import DigestMismatch
from ..units import GIB, MIB, ceil_div
from . import StoredFile, metadata

MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_PARTS = 10_000
"""AWS: "Amazon S3 multipart upload limits". The last part may be smaller."""
MAX_FORM_BYTES = 5 * GIB
"""The largest file that one presigned POST may send (AWS: "Uploading objects")."""
PART_BYTES = 64 * MIB
"""The recommended size of a part: small enough to send again, large enough for few requests."""
WHOLE_BYTES = 8 * MIB
"""The largest file that is read once, hashed, and written as a whole. Larger files are copied inside the storage."""
MAX_IN_PIECES_BYTES = 10 * GIB
"""The largest file that comes in pieces through requests to S3. Its event reads all pieces, twice without a declared
digest, and writes them, within Lambda's 900 seconds. We expect up to 15 seconds for each GiB and pass, so 20 GiB. The
limit is half of that."""
HASHED_BYTES = 256 * MIB
"""The largest file that arrives directly and has its SHA-256 known although the client did not declare it. S3 copies
such a file as one part, in about 2.5 s, and hashes the part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A client's description of a file, given before the client sends the file, and checked against the policy.

    The declaration travels with the bytes, where no client can change it. This class is here and not in
    :mod:`handler.direct`, because both storages keep declarations, and no storage imports :mod:`handler.direct`.

    :param original_name: the client's name for the file.
    :param max_bytes: the largest size that the file may have: its declared size, or the limit of the policy.
    :param sha256: the declared digest of the content, in hexadecimal. The promotion verifies it.
    :param size: the exact size of the file, in bytes. ``None`` if the client did not declare a size, or declared no
        part size where the file may have several parts.
    :param part_bytes: the size of each part except the last, in bytes, if the client declared it.
    :param subject: see :class:`~handler.storage.StoredFile`, which gets it, as it gets the three below.
    """

    original_name: str
    max_bytes: int
    sha256: str | None = None
    size: int | None = None
    part_bytes: int | None = None
    subject: str | None = None
    meta: Mapping[str, Any] | None = None
    fields: Mapping[str, str] | None = None
    keep_days: int | None = None

    def as_metadata(self) -> dict[str, str]:
        """Return the declaration as object metadata: ASCII, and far below the 2 KB that S3 keeps.

        ``size`` and ``part_bytes`` are left out. They matter only while parts arrive, and the upload id holds them.
        """
        return {
            **metadata.encode_name(self.original_name),
            "max-bytes": str(self.max_bytes),
            **({"sha256": self.sha256} if self.sha256 else {}),
            **metadata.encode_details(meta=self.meta, fields=self.fields, subject=self.subject),
            **({"keep-days": str(self.keep_days)} if self.keep_days is not None else {}),
        }

    @classmethod
    def from_metadata(cls, written: Mapping[str, str]) -> Declaration:
        """Return the declaration that :meth:`as_metadata` wrote.

        :raises KeyError, ValueError: something else wrote the metadata.
        """
        name = metadata.decode_name(written)
        if name is None:
            raise KeyError(metadata.NAME)
        return cls(
            original_name=name,
            max_bytes=int(written["max-bytes"]),
            sha256=written.get("sha256"),
            keep_days=int(written["keep-days"]) if "keep-days" in written else None,
            **metadata.decode_details(written),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadedPart:
    """A part that has arrived.

    :param number: from 1 to :data:`MAX_PARTS`.
    :param etag: without quotes.
    :param size: in bytes.
    """

    number: int
    etag: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PresignedPost:
    """The address for a POST of a form, and the fields that come before the form's ``file`` field.

    :param url: absolute, or relative to the root of this endpoint.
    """

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """A verdict: the file passed the checks, and is stored."""

    file: StoredFile


@dataclass(frozen=True, slots=True)
class Refused:
    """A verdict: the file did not pass.

    :param problem: the problem object (RFC 9457) with the reason.
    """

    problem: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deleted:
    """A verdict: the file was stored, and then deleted."""


Verdict = Stored | Refused | Deleted


class Incoming(Protocol):
    """Bytes that have arrived and cannot change, even if other bytes arrive under their id.

    Every method may raise :class:`~handler.problems.StorageUnavailable`, or :class:`Gone`.
    """

    @property
    def size(self) -> int:
        """The size, in bytes."""

    @property
    def version(self) -> str:
        """The storage's name for these bytes. Other bytes can arrive under the same id."""

    @property
    def declaration(self) -> Declaration:
        """The declaration that was made before the bytes arrived."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return up to ``length`` of the bytes, from ``offset`` on."""

    def chunks(self) -> Iterator[bytes]:
        """Return all bytes, piece by piece."""

    def copy_to_files(self, file: StoredFile, /) -> StoredFile:
        """Copy the bytes to ``files/``, where they can be read as this file.

        The copy verifies the digest that the declaration has, before anyone can read the file.

        :returns: the file, with its ``sha256`` if the declaration or the copy knows it.
        :raises DigestMismatch: the content has another digest than the declaration.
        :raises AlreadyExists: there is, or was, a file with this id. The file stays as it is, and a deleted file stays
            deleted.
        """


class Gone(Exception):
    """The bytes have been deleted: another process has reached a verdict, or the bytes were too old."""


class SentAgain(Exception):
    """Other bytes arrived under this id before these. Only the first bytes get a verdict."""


class InPieces(Exception):
    """The bytes are the pieces of a resumable upload (:mod:`.resumable`), which its own storage must open."""


class Arrivals(Protocol):
    """A storage in which whole files arrive that nobody has checked yet. A promotion needs no more than this.

    Every method may raise :class:`~handler.problems.StorageUnavailable`.
    """

    def open_incoming(self, path: str, version: str | None = None, /) -> Incoming | None:
        """Pin the bytes that arrived first under this path.

        :param version: the version that the storage's event names, if the event names a version.
        :returns: ``None`` if nothing has arrived, or if the bytes were discarded after a verdict. A verdict can come
            between two calls, so the caller then looks for a verdict again.
        :raises SentAgain: the version exists, and is not the first that arrived.
        :raises InPieces: the path is that of a complete resumable upload, whose event is being handled.
        """

    def discard(self, path: str, version: str | None = None, /) -> None:
        """Delete the bytes that arrived under this path. They have a verdict, or will never get one.

        :param version: delete only this version. ``None`` deletes all versions, on S3 up to a thousand.
        """

    def end_copies(self, path: str, /) -> None:
        """Abort the copies that other processes have begun of a file with a verdict. A copy stops at its next part.

        Files of up to :data:`WHOLE_BYTES` have no such copies.
        """

    def find_verdict(self, path: str, /) -> Verdict | None:
        """Return the verdict on the bytes that arrived under this path; ``None`` if there is no verdict yet."""

    def refuse(self, path: str, problem: Mapping[str, Any], /) -> bool:
        """Write the reason of a refusal. A reason that is already written stays.

        :returns: whether there was no reason before.
        """


class DirectUploads(Arrivals, Protocol):
    """A storage that takes bytes directly from clients.

    ``multipart_id`` is the id that the storage itself gave to an upload in parts.
    """

    def secret(self) -> bytes:
        """Return the key that signs upload ids: 32 random bytes, made once, and the same for all processes."""

    def origins(self) -> list[str]:
        """Return the origins, other than this endpoint's, to which clients send bytes: ``https://bucket.s3.…``.

        A page must name them in its Content-Security-Policy.
        """

    def begin(self, path: str, declaration: Declaration, /) -> str:
        """Begin an upload in parts.

        :returns: the multipart id.
        """

    def has_multipart_upload(self, path: str, multipart_id: str, /) -> bool:
        """Return whether an upload in parts is in progress: neither completed nor aborted."""

    def arrived(self, path: str, /) -> bool:
        """Return whether a whole file has arrived under this path, and is not discarded yet."""

    def part_url(self, path: str, multipart_id: str, number: int, /, *, size: int | None) -> str:
        """Return a URL that takes a PUT of a part for an hour: absolute, or relative to the root of this endpoint.

        :param size: the exact size of the part, in bytes, if it is known.
        """

    def parts(self, path: str, multipart_id: str, /) -> list[UploadedPart]:
        """Return the parts that have arrived, sorted by number.

        :raises UploadNotFound: the upload was completed or aborted, or never begun.
        """

    def complete(self, path: str, multipart_id: str, parts: Sequence[UploadedPart], /) -> str | None:
        """Join the parts to one file. Afterwards nothing can be added.

        :returns: the version of the file, for :meth:`open_joined`; ``None`` if the storage names no version.
        :raises UploadNotFound: the upload was completed or aborted, or never begun.
        :raises UploadIncomplete: other parts have arrived, or a part is too small.
        """

    def abort(self, path: str, multipart_id: str, /) -> None:
        """Delete the parts. Without parts, this does nothing."""

    def presigned_post(self, path: str, declaration: Declaration, /) -> PresignedPost:
        """Return a form that can send the whole file for an hour."""

    def open_joined(self, path: str, version: str, /) -> Incoming | None:
        """Pin the bytes that :meth:`complete` joined. No other bytes can arrive under their path.

        :returns: ``None`` if the bytes were discarded after a verdict.
        """

    def find_file(self, path: str, /) -> Stored | Deleted | None:
        """Return the file that is, or was, stored under this path; ``None`` if there never was a file.

        A deletion is remembered for at least a day. On S3 this takes one call, and one more for a stored file.
        """

    def claimed(self, path: str, /) -> AbstractContextManager[None]:
        """Claim this path, which other requests may use too, while the body of the ``with`` statement stores its file.

        In a folder this request is the only one meanwhile, and the remains of a killed process are removed. A write to
        S3 needs no such hold.

        :raises AlreadyExists: there was a file under this path.
        """

    def refusal(self, path: str, /) -> Mapping[str, Any] | None:
        """Return the problem object that :meth:`refuse` wrote for this path; ``None`` if there is no such object."""


def verify_sha256(file: StoredFile, chunks: Iterable[bytes], *, sha256: str | None) -> StoredFile:
    """Read a whole file, and compare its SHA-256 with the declared one.

    :param chunks: the content.
    :param sha256: in hexadecimal, if the client declared it.
    :returns: the file, with its SHA-256.
    :raises DigestMismatch: the digests differ.
    """
    actual = hashlib.sha256()
    for chunk in chunks:
        actual.update(chunk)
    return check_sha256(file, actual.hexdigest(), sha256=sha256)


def check_sha256(file: StoredFile, actual: str, *, sha256: str | None) -> StoredFile:
    """Compare the SHA-256 of a file with the declared one. Both are in hexadecimal.

    :param sha256: ``None`` if the client did not declare it.
    :returns: the file, with its SHA-256.
    :raises DigestMismatch: the digests differ.
    """
    if sha256 not in (None, actual):
        raise DigestMismatch(
            f"'{file.original_name}' does not have the declared SHA-256. It was damaged on the way. Send it again.",
            file_name=file.original_name,
        )
    return replace(file, sha256=actual)


def part_bytes(size: int, *, minimum: int | None = None) -> int:
    """Return the size of a part, in bytes, so that :data:`MAX_PARTS` parts are enough.

    :param size: of the whole file, in bytes.
    :param minimum: the size if fewer parts are enough, in bytes; by default :data:`PART_BYTES`.
    """
    return max(PART_BYTES if minimum is None else minimum, ceil_div(ceil_div(size, MAX_PARTS), MIB) * MIB)


def dump_refusal(problem: Mapping[str, Any]) -> bytes:
    """Return a problem object as JSON in UTF-8."""
    return json.dumps(problem, ensure_ascii=False).encode()
