"""Sending bytes straight to the storage: what a storage does that takes them without the app in between.

The bytes come in under ``incoming/<id>``, where nobody can read them. There they are pinned, checked by
:mod:`handler.direct.promotion`, and copied to ``files/<id>/<name>`` or refused. An id has one verdict, and the first
is final.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote

from . import StoredFile

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_PARTS = 10_000
"""AWS: "Amazon S3 multipart upload limits". The last part may be smaller."""
MAX_FORM_BYTES = 5 * GIB
"""What one POST with a form may carry (AWS: "Uploading objects")."""
PART_BYTES = 64 * MIB
"""What is advised: small enough to send again, large enough for few requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """What was agreed about a file before it was sent. It travels with the bytes, where no client can write it.

    :param original_name: the client's name.
    :param max_bytes: the most that the file may hold.
    :param sha256: of its bytes, in hexadecimal, if the client said so: then it is verified.
    """

    original_name: str
    max_bytes: int
    sha256: str | None = None

    def as_metadata(self) -> dict[str, str]:
        """As object metadata: ASCII, and far from the 2 KB that S3 keeps."""
        metadata = {"original-name": quote(self.original_name), "max-bytes": str(self.max_bytes)}
        return metadata | ({"sha256": self.sha256} if self.sha256 else {})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Declaration:
        """:raises KeyError, ValueError: it is not what :meth:`as_metadata` made."""
        return cls(
            original_name=unquote(metadata["original-name"]),
            max_bytes=int(metadata["max-bytes"]),
            sha256=metadata.get("sha256"),
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
    """Where to POST a form, and the fields that come before its ``file``.

    :param url: absolute, or relative to the root of this endpoint.
    """

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of the bytes: stored, refused, or stored and then deleted (when both are ``None``).

    :param file: the file, if it is stored.
    :param refusal: the problem object (RFC 9457) that says why it is not.
    """

    file: StoredFile | None = None
    refusal: Mapping[str, Any] | None = None


class Incoming(Protocol):
    """Bytes that have come in and cannot change any more, whatever else comes in under their id.

    Every method may raise :class:`~handler.problems.StorageUnavailable`, or :class:`Gone`.
    """

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def version(self) -> str:
        """The storage's name for them, where other bytes can come in under the same id."""

    @property
    def declaration(self) -> Declaration:
        """What was agreed about them."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Up to so many of the bytes."""

    def chunks(self) -> Iterator[bytes]:
        """All of the bytes."""

    def copy_to_files(self, file: StoredFile, /) -> None:
        """Copy them to where they can be read, as this file.

        :raises AlreadyExists: there is, or was, a file with this id; it is left as it is, and a deleted one deleted.
        """


class Gone(Exception):
    """The bytes are not there any more: somebody else has come to a verdict, or they are too old."""


class SentAgain(Exception):
    """Other bytes came in under this id before these, and only the first have a verdict."""


class DirectUploads(Protocol):
    """A storage that bytes can be sent to directly. Every method may raise
    :class:`~handler.problems.StorageUnavailable`."""

    def secret(self) -> bytes:
        """The key to sign upload ids with: 32 random bytes, made once and the same for all who use this storage."""

    def origins(self) -> list[str]:
        """Where clients send bytes other than to this endpoint, such as ``https://bucket.s3.…``: a page's
        Content-Security-Policy has to name it."""

    def begin(self, file_id: str, declaration: Declaration) -> str:
        """Begin an upload in parts.

        :returns: what the storage calls it.
        """

    def has_multipart_upload(self, file_id: str, upload: str) -> bool:
        """Whether this upload in parts is under way: neither completed nor aborted."""

    def arrived(self, file_id: str) -> bool:
        """Whether bytes have come in as a whole under this id, and were not discarded."""

    def part_url(self, file_id: str, upload: str, number: int, *, size: int | None) -> str:
        """Where to PUT a part for an hour: absolute, or relative to the root of this endpoint.

        :param size: what it has to hold, if that is known.
        """

    def parts(self, file_id: str, upload: str) -> list[UploadedPart]:
        """What has arrived, by number.

        :raises UploadNotFound: it was completed or aborted, or never begun.
        """

    def complete(self, file_id: str, upload: str, parts: Sequence[UploadedPart]) -> None:
        """Make one of them. From here on nothing can be added.

        :raises UploadNotFound: as :meth:`parts`.
        :raises UploadIncomplete: these are not the parts that arrived, or one is too small.
        """

    def abort(self, file_id: str, upload: str) -> None:
        """Forget the parts. Nothing happens if there are none."""

    def presigned_post(self, file_id: str, declaration: Declaration) -> PresignedPost:
        """A form that can send the whole file for an hour."""

    def open_incoming(self, file_id: str, version: str | None = None) -> Incoming | None:
        """Pin the bytes that came in first under this id.

        :param version: the version that the storage's event names, if it names one.
        :returns: ``None`` if nothing has come in, or it was discarded after a verdict. That can happen between two
            calls, so a caller that had asked for the verdict before asks again.
        :raises SentAgain: the version is there, and is not the first that came in.
        """

    def discard(self, file_id: str, version: str | None = None) -> None:
        """Remove what came in under this id, of which there is a verdict or never will be one.

        :param version: only this one; otherwise all of them, on S3 up to a thousand.
        """

    def end_copies(self, file_id: str) -> None:
        """End the copies of a file that others have begun, since there is a verdict: they stop at their next part."""

    def find_verdict(self, file_id: str) -> Verdict | None:
        """Return the verdict on what came in under this id, if there is one."""

    def refusal(self, file_id: str) -> Mapping[str, Any] | None:
        """Return the reason why it was refused, if it was: the problem as :meth:`refuse` took it."""

    def refuse(self, file_id: str, refusal: Mapping[str, Any]) -> None:
        """Write down why it is refused, unless that is written already."""


def part_bytes(size: int) -> int:
    """How large parts should be for a file of that size, so that :data:`MAX_PARTS` suffice."""
    needed = -(-size // MAX_PARTS)
    return max(PART_BYTES, -(-needed // MIB) * MIB)


def dump_refusal(refusal: Mapping[str, Any]) -> bytes:
    return json.dumps(refusal, ensure_ascii=False).encode()
