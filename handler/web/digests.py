"""Digests in the request header, verified while the body is read.

The header fields are ``Content-Digest`` and ``Repr-Digest`` (RFC 9530) with sha-256 or sha-512, and the older
``Content-MD5`` (RFC 1864). Each digest is of the whole body: of the file, or of the form with the file.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import IO

from werkzeug.datastructures import Headers

from ..problems import DigestMismatch, MalformedRequest

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
# A dictionary of byte sequences (RFC 9651, sections 3.2 and 3.3.5), as RFC 9530 uses it; parameters mean nothing here.
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):(?:;[^,]*)?")


class DigestStream:
    """A stream that computes digests while it is read.

    :param stream: the body of the request.
    :param headers: the header fields of the request; see :func:`expected_digests`.
    :raises MalformedRequest: a digest in the header fields cannot be read.
    """

    def __init__(self, stream: IO[bytes], headers: Headers) -> None:
        self._stream = stream
        self._expected = expected_digests(headers)
        self._hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm, _ in self._expected}

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        for digest in self._hashes.values():
            digest.update(data)
        return data

    def verify(self) -> None:
        """Compare the digests. Call this method after the last read, and before the file is stored.

        :raises DigestMismatch: the body has another digest than the request says.
        """
        for algorithm, expected in self._expected:
            if self._hashes[algorithm].digest() != expected:
                raise DigestMismatch(
                    f"The body has another {algorithm} than the request says: it was damaged on the way. Send it again."
                )


def expected_digests(headers: Headers) -> list[tuple[str, bytes]]:
    """Return the digests in the header fields, each with the name of its algorithm in :mod:`hashlib`.

    A field without a digest that can be verified is refused, because the client would believe that it was verified.

    :raises MalformedRequest: a digest cannot be read, or a field has no digest of a known algorithm.
    """
    digests: list[tuple[str, bytes]] = []
    for field in ("Content-Digest", "Repr-Digest"):
        if field in headers:
            digests += _digests_of(field, headers[field])
    if "Content-MD5" in headers:
        digests.append(("md5", _decode("Content-MD5", "md5", headers["Content-MD5"])))
    return digests


def _digests_of(field: str, value: str) -> Iterator[tuple[str, bytes]]:
    """Yield the digests of known algorithms in a field (RFC 9530, section 2).

    :raises MalformedRequest: as :func:`expected_digests`.
    """
    members = [_MEMBER.fullmatch(member.strip()) for member in value.split(",")]
    known = [(_ALGORITHMS[member[1]], member[2]) for member in members if member and member[1] in _ALGORITHMS]
    if not (known and all(members)):
        raise MalformedRequest(f"{field} is not valid. Write it like sha-256=:BASE64:, or with sha-512.")
    for algorithm, digest in known:
        yield algorithm, _decode(field, algorithm, digest)


def _decode(field: str, algorithm: str, value: str) -> bytes:
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        raise MalformedRequest(f"The digest in {field} is not valid base64. Send it in base64.") from None
    # Most tools print hexadecimal, which is also valid base64, but longer. The body was not damaged then.
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise MalformedRequest(
            f"The digest in {field} does not have the length of {algorithm}. Send it in base64, not in hexadecimal."
        )
    return digest
