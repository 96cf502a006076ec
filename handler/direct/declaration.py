"""The reader of declarations: a client's description of a file, from JSON or from a query. Pure: neither I/O nor Flask.

The class :class:`~handler.storage.direct.Declaration` is in the storage, which keeps declarations next to the bytes and
must not import this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..inspection.policy import FileName, Policy
from ..problems import MalformedRequest
from ..storage import NO_DETAILS, Details
from ..storage.direct import MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, Declaration, part_bytes
from ..units import ceil_div

MAX_NAME_CHARS = 4096
"""The longest file name that is inspected: far above the limits of file systems, and cheap to inspect."""
MEMBERS = frozenset(("filename", "metadata", "partSize", "sha256", "size", "type"))
"""The members of a client's JSON object, or the arguments of its query, that have a meaning here."""

_NUMBER = re.compile("[0-9]{1,16}")
_SHA256 = re.compile("[0-9a-f]{64}")
_METADATA_PATTERNS = {"size": _NUMBER, "partSize": _NUMBER, "sha256": _SHA256}
"""The members of a widget's metadata that are read, and their form."""
_QUERY_METADATA = "metadata["
"""The beginning of a metadata member in a query: Uppy writes ``metadata[name]=value``."""


def read(body: Mapping[str, Any], *, policy: Policy, details: Details = NO_DETAILS) -> Declaration:
    """Return the declaration in a client's JSON object.

    :param body: the object. Its members come before those of its ``metadata``.
    :param details: for the stored file.
    :raises Problem: the object is malformed, or the policy refuses the declared file.
    """
    members = _usable_metadata(body.get("metadata")) | {k: value for k, value in body.items() if value is not None}
    name = _inspect_name(members, policy=policy)
    size = _inspect_size(members, name=name, policy=policy)
    sha256 = _sha256(members)
    part_size = _part_bytes(members, size=size, name=name)
    # The metadata of a page may have a 'size' with another meaning. Without 'partSize' such a size only limits the
    # file, except if the file has a single part.
    is_exact = _number(body, "size") is not None or part_size is not None or (size or 0) <= MIN_PART_BYTES
    return Declaration(
        original_name=name.original,
        max_bytes=policy.max_file_bytes if size is None else size,
        sha256=sha256,
        size=size if is_exact else None,
        part_bytes=part_size,
        subject=details.subject,
        meta=details.meta,
        fields=details.fields,
        keep_days=details.keep_days,
    )


def read_query(arguments: Mapping[str, str], *, policy: Policy, details: Details = NO_DETAILS) -> Declaration:
    """Return the declaration in the arguments of a query.

    :raises Problem: as :func:`read`.
    """
    return read({**arguments, "metadata": query_metadata(arguments)}, policy=policy, details=details)


def query_metadata(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the members of a widget's metadata in the arguments of a query."""
    return {member: value for name, value in arguments.items() if (member := metadata_member(name)) is not None}


def metadata_member(argument: str) -> str | None:
    """Return the member of a widget's metadata that an argument of a query names; ``None`` if it names no member."""
    is_member = argument.startswith(_QUERY_METADATA) and argument.endswith("]")
    return argument[len(_QUERY_METADATA) : -1] if is_member else None


def _inspect_name(members: Mapping[str, Any], *, policy: Policy) -> FileName:
    """Return the name of the file, if the policy accepts the name and the media type."""
    file_name, media_type = members.get("filename"), members.get("type")
    if not isinstance(file_name, str):
        raise MalformedRequest("'filename' is missing, or is not a string. Send the name of the file.")
    if len(file_name) > MAX_NAME_CHARS:
        raise MalformedRequest(f"'filename' has more than {MAX_NAME_CHARS:,} characters. Send a shorter name.")
    name = policy.inspect_name(file_name)
    if isinstance(media_type, str):
        policy.inspect_media_type(name, media_type)
    return name


def _inspect_size(members: Mapping[str, Any], *, name: FileName, policy: Policy) -> int | None:
    """Return the declared size, in bytes, if the policy accepts the size; ``None`` without a size."""
    size = _number(members, "size")
    if size is not None:
        policy.inspect_size(name, size)
    return size


def _sha256(members: Mapping[str, Any]) -> str | None:
    sha256 = members.get("sha256")
    if sha256 is None or (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        return sha256
    raise MalformedRequest("'sha256' is not 64 hexadecimal digits in lower case. Omit it if you do not know it.")


def _part_bytes(members: Mapping[str, Any], *, size: int | None, name: FileName) -> int | None:
    """Return the declared size of a part, in bytes. A size of a part is ignored without a size of the file."""
    length = _number(members, "partSize")
    if length is None or size is None:
        return None
    minimum = max(min(MIN_PART_BYTES, size), ceil_div(size, MAX_PARTS), 1)
    if not minimum <= length <= MAX_PART_BYTES:
        raise MalformedRequest(
            f"'{name.original}' cannot be sent in parts of {length:,} bytes. A part must have {minimum:,} to "
            f"{MAX_PART_BYTES:,} bytes; {part_bytes(size):,} bytes are recommended."
        )
    return length


def _usable_metadata(metadata: object) -> dict[str, Any]:
    """Return the members of a widget's metadata that are usable here. All other members belong to the page."""
    if not isinstance(metadata, dict):
        return {}
    return {
        name: metadata[name]
        for name, pattern in _METADATA_PATTERNS.items()
        if isinstance(metadata.get(name), (int, str)) and pattern.fullmatch(str(metadata[name]))
    }


def _number(members: Mapping[str, Any], name: str) -> int | None:
    """Return a number of bytes. In a query or a form, the number is text."""
    value = members.get(name)
    if value is None or value == "":
        return None
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise MalformedRequest(f"'{name}' is not a whole number of bytes. Omit it if you do not know it.")
