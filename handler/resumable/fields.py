"""The values of the header fields of both protocols: structured fields (RFC 9651) and those of tus 1.0. Pure.

Each function reads its text once. The values come from the client, so their length is bounded first.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from ..problems import MalformedRequest

MAX_ITEM_CHARS = 256
"""The longest structured field that is read. Clients send 20 characters."""
MAX_METADATA_CHARS = 8192
"""The longest ``Upload-Metadata`` that is read. API Gateway accepts 10,240 bytes of header fields in all."""
MAX_METADATA_PAIRS = 64

# RFC 9651, section 3: an item, and the parameters behind it, which mean nothing here.
_BARE = (
    r"(?:\?[01]|@?-?[0-9]{1,15}+(?:\.[0-9]{1,3}+)?|:[A-Za-z0-9+/=]*+:|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*+"
    r'|%?"(?:[ !#-\[\]-~]|\\["\\])*+")'
)
_PARAMETERS = rf"(?:; *+[a-z*][a-z0-9_.*-]*+(?:={_BARE})?)*+"
_BOOLEAN = re.compile(rf" *+\?([01]){_PARAMETERS} *+")
_INTEGER = re.compile(rf" *+([0-9]{{1,15}}+){_PARAMETERS} *+")
_CHECKSUM = re.compile(r"([a-z0-9-]{1,16}) ([A-Za-z0-9+/]{1,128}={0,2})")


def boolean(value: str | None) -> bool | None:
    """Return a boolean item; ``None`` for any other value, which counts as a missing field."""
    match = _BOOLEAN.fullmatch(value) if value and len(value) <= MAX_ITEM_CHARS else None
    return None if match is None else match[1] == "1"


def integer(value: str | None) -> int | None:
    """Return an integer item that is not negative; ``None`` for any other value, which counts as a missing field."""
    match = _INTEGER.fullmatch(value) if value and len(value) <= MAX_ITEM_CHARS else None
    return None if match is None else int(match[1])


def metadata(value: str) -> dict[str, str]:
    """Return the pairs in tus's ``Upload-Metadata``. Values that are not UTF-8 are kept as far as they are.

    :raises MalformedRequest: the field is too long, or is not a list of keys with values in base64.
    """
    pairs = value.split(",") if len(value) <= MAX_METADATA_CHARS else []
    if not 0 < len(pairs) <= MAX_METADATA_PAIRS:
        raise MalformedRequest(
            f"Upload-Metadata may have {MAX_METADATA_PAIRS} pairs and {MAX_METADATA_CHARS:,} characters. Send fewer."
        )
    members: dict[str, str] = {}
    for pair in pairs:
        key, _, encoded = pair.strip(" \t").partition(" ")
        if not key or key in members:
            raise MalformedRequest("Upload-Metadata has an empty key, or a key twice. Send each key once.")
        members[key] = _decode(encoded.strip(" "))
    return members


def checksum(value: str, *, algorithms: Mapping[str, int]) -> tuple[str, bytes]:
    """Return the algorithm and the digest in tus's ``Upload-Checksum``.

    :param algorithms: the known algorithms, and the sizes of their digests in bytes.
    :raises MalformedRequest: the algorithm is unknown, or the digest is not one of it in base64.
    """
    match = _CHECKSUM.fullmatch(value)
    if match is None or match[1] not in algorithms:
        raise MalformedRequest(f"Upload-Checksum is not valid. Send one of {', '.join(algorithms)}, then its base64.")
    try:
        digest = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != algorithms[match[1]]:
        raise MalformedRequest(f"The digest in Upload-Checksum is not a {match[1]} in base64. Send it in base64.")
    return match[1], digest


def _decode(encoded: str) -> str:
    """:raises MalformedRequest: the text is not base64."""
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except ValueError:  # also for a character outside ASCII
        raise MalformedRequest("A value in Upload-Metadata is not valid base64. Encode each value.") from None
