"""Digests that a client sends along, verified over the body as it is read.

``Content-Digest`` and ``Repr-Digest`` (RFC 9530) with sha-256 or sha-512, and the older ``Content-MD5`` (RFC 1864). All
of them are of the whole body: of the file where that is the body, of the whole form where the file came in one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import IO

from werkzeug.datastructures import Headers

from ..problems import DigestMismatch, MalformedRequest

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
# A dictionary of byte sequences (RFC 9651, sections 3.2 and 3.3.5), as RFC 9530 uses it; parameters mean nothing here.
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):(?:;[^,]*)?")


class DigestStream:
    """A stream that is hashed as it is read.

    :param stream: the body.
    :param headers: the request's; see :func:`expected_digests` for what they may hold.
    :raises MalformedRequest: a digest cannot be read.
    """

    def __init__(self, stream: IO[bytes], headers: Headers) -> None:
        self._stream = stream
        self._expected = expected_digests(headers)
        self._hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm, _ in self._expected}

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        for each in self._hashes.values():
            each.update(data)
        return data

    def verify(self) -> None:
        """To be called when all has been read, before anything is stored.

        :raises DigestMismatch: what was read has another digest.
        """
        for algorithm, expected in self._expected:
            if self._hashes[algorithm].digest() != expected:
                raise DigestMismatch(
                    f"The body has another {algorithm} than the request says: it was damaged on the way."
                )


def expected_digests(headers: Headers) -> list[tuple[str, bytes]]:
    """The digests that the header fields name, each with its algorithm by hashlib's name.

    :raises MalformedRequest: one cannot be read, or none is of an algorithm that is known here. What nobody verifies
        should not look as if it had been.
    """
    found = []
    for field in ("Content-Digest", "Repr-Digest"):
        if field not in headers:
            continue
        members = [_MEMBER.fullmatch(member.strip()) for member in headers[field].split(",")]
        known = [(_ALGORITHMS[each[1]], each[2]) for each in members if each and each[1] in _ALGORITHMS]
        if not (known and all(members)):
            raise MalformedRequest(f"{field} should be like sha-256=:BASE64:, or sha-512.")
        found += [(algorithm, _decode(field, algorithm, value)) for algorithm, value in known]
    if "Content-MD5" in headers:
        found.append(("md5", _decode("Content-MD5", "md5", headers["Content-MD5"])))
    return found


def _decode(field: str, algorithm: str, value: str) -> bytes:
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        raise MalformedRequest(f"The digest in {field} is not valid base64.") from None
    # Hexadecimal, which is what most tools print, is valid base64 too, but longer: nothing was damaged on the way.
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise MalformedRequest(f"The digest in {field} has not the length of {algorithm}. Is it base64, and not hex?")
    return digest
