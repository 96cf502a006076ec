"""Texts and JSON as the user metadata of an object: ASCII, because S3 keeps header fields.

S3 keeps at most 2 KB of user metadata for each object (AWS: "Working with object metadata"). The limits below keep
every object under that, with its digest, its time and the names of the metadata:

- the name has at most 150 characters, so at most 800 characters in base64url;
- the details have at most :data:`MAX_DETAILS_BYTES` of JSON, so at most 1,040 characters in base64url.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ..problems import MalformedRequest

NAME, DETAILS = "name", "details"
EMPTY_DETAILS = "e30"
"""The value of :data:`DETAILS` for an empty JSON object."""
OLD_NAME = "original-name"
"""The name in percent-encoding, as earlier versions of this program wrote it."""
MAX_META_BYTES = 640
"""The maximum size of ``meta`` and ``fields`` together, each as compact JSON in UTF-8."""
MAX_DETAILS_BYTES = 780
"""The maximum size of all details, as compact JSON in UTF-8. It leaves at least 100 bytes for a ``subject``."""


def check_details(*, meta: Mapping[str, Any] | None, fields: Mapping[str, str] | None, subject: str | None) -> None:
    """Check that an object can keep the details of a file.

    :raises MalformedRequest: they are too large.
    """
    if meta is None and fields is None and subject is None:  # as for most uploads
        return
    kept = sum(len(_dump(members)) for members in (meta, fields) if members is not None)
    if kept > MAX_META_BYTES:
        raise MalformedRequest(
            f"The token's 'meta' and the fields that are kept with the file have {kept:,} bytes of JSON. Together they "
            f"may have {MAX_META_BYTES} bytes. Send less."
        )
    if len(_dump(_present(meta=meta, fields=fields, subject=subject))) > MAX_DETAILS_BYTES:
        raise MalformedRequest(
            "The token's 'sub' is too long to be kept with the file. With 'meta' and the fields, it may have "
            f"{MAX_DETAILS_BYTES} bytes of JSON. Use a shorter 'sub'."
        )


def encode_name(name: str) -> dict[str, str]:
    """Return the metadata that holds the client's name of a file."""
    return {NAME: _encode(name.encode())}


def decode_name(metadata: Mapping[str, str]) -> str | None:
    """Return the name that :func:`encode_name`, or an earlier version of it, wrote; ``None`` without one.

    :raises ValueError: something else wrote the metadata.
    """
    if NAME in metadata:
        return _decode(metadata[NAME]).decode()
    return unquote(metadata[OLD_NAME]) if OLD_NAME in metadata else None


def encode_details(
    *, meta: Mapping[str, Any] | None, fields: Mapping[str, str] | None, subject: str | None
) -> dict[str, str]:
    """Return the metadata that holds the details of a file; nothing without details."""
    details = _present(meta=meta, fields=fields, subject=subject)
    return {DETAILS: _encode(_dump(details))} if details else {}


def decode_details(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the members ``meta``, ``fields`` and ``subject`` that :func:`encode_details` wrote.

    :raises ValueError: something else wrote the metadata.
    """
    details = json.loads(_decode(metadata[DETAILS])) if DETAILS in metadata else {}
    if not isinstance(details, dict):
        raise ValueError(f"'{DETAILS}' is not a JSON object")
    return {name: details.get(name) for name in ("meta", "fields", "subject")}


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _dump(members: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(members).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
