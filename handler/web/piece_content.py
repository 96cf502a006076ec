"""The content of a request that brings a piece of a file, or the whole file, with its digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import IO

from werkzeug.datastructures import Headers

from ..problems import ChecksumMismatch, DigestMismatch, MalformedRequest, Problem
from ..resumable import fields, tus
from . import digests, forms


class PieceContent:
    """The bytes of a request, which are hashed while they are read.

    :param stream: the body of the request.
    :param headers: the header fields of the request.
    :param is_whole: the content is the whole file, so ``Repr-Digest`` is a digest of the content too.
    :param max_bytes: the largest content, in bytes.
    :param too_large: makes the problem with a larger content.
    :raises MalformedRequest: a digest in the header fields cannot be read.
    """

    def __init__(
        self,
        stream: IO[bytes],
        headers: Headers,
        *,
        is_whole: bool,
        max_bytes: int,
        too_large: Callable[[], Problem],
    ) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._too_large = too_large
        names = ("Content-Digest", "Content-MD5", *(("Repr-Digest",) if is_whole else ()))
        given = Headers([(name, headers[name]) for name in names if name in headers])
        self._expected = [(*digest, False) for digest in digests.expected_digests(given)]
        if "Upload-Checksum" in headers:
            checksum = fields.checksum(headers["Upload-Checksum"], algorithms=tus.ALGORITHMS)
            self._expected.append((*checksum, True))
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name, _, _ in self._expected}
        self.size = 0

    @property
    def has_digests(self) -> bool:
        """Whether the client sent a digest of the content."""
        return bool(self._expected)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content.

        :raises Problem: the content is too large.
        """
        while data := self._stream.read(forms.READ_BYTES):
            self.size += len(data)
            if self.size > self._max_bytes:
                raise self._too_large()
            for digest in self._hashes.values():
                digest.update(data)
            yield data

    def verify(self) -> None:
        """Compare the digests, after the last byte.

        :raises ChecksumMismatch: the content has another digest than ``Upload-Checksum``.
        :raises DigestMismatch: the content has another digest than another field.
        """
        for name, expected, is_checksum in self._expected:
            if self._hashes[name].digest() != expected:
                problem = ChecksumMismatch if is_checksum else DigestMismatch
                raise problem(
                    f"The content has another {name} than the request says, so nothing was kept. Send it again."
                )


def declared_sha256(headers: Headers) -> str | None:
    """Return the SHA-256 of the whole file in ``Repr-Digest``, in hexadecimal; ``None`` without the field.

    :raises MalformedRequest: the field has no SHA-256. Other digests cannot be verified over several pieces.
    """
    if "Repr-Digest" not in headers:
        return None
    given = dict(digests.expected_digests(Headers([("Repr-Digest", headers["Repr-Digest"])])))
    if "sha256" not in given:
        raise MalformedRequest("Repr-Digest has no sha-256, and a file in pieces is verified with that. Send sha-256.")
    return given["sha256"].hex()
