"""What a client says about a file before it sends it straight to the storage. Pure: no I/O, neither Flask nor AWS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..inspection.policy import FileName, Policy
from ..problems import MalformedRequest
from ..storage.direct import MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, Declaration, part_bytes

MAX_NAME_CHARS = 4096
"""Far more than file systems allow, and few enough to inspect at no cost."""

_NUMBER = re.compile("[0-9]{1,16}")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """What a client says about a file before it sends it.

    :param size: in bytes, if the client said it in a way that tells the lengths of the parts.
    :param part_bytes: what each part but the last one will hold, if that is said too.
    """

    declaration: Declaration
    size: int | None
    part_bytes: int | None

    @classmethod
    def of(cls, body: dict[str, Any], *, policy: Policy) -> Announcement:
        """Read what a client sent.

        :param body: its JSON object.
        :raises Problem: the file would be refused by that alone.
        """
        said = _useful(body.get("metadata")) | {name: value for name, value in body.items() if value is not None}
        file_name, media_type = said.get("filename"), said.get("type")
        if not isinstance(file_name, str):
            raise MalformedRequest("Say what the file is called: 'filename' is missing, or is no text.")
        if len(file_name) > MAX_NAME_CHARS:
            raise MalformedRequest(f"'filename' has more than {MAX_NAME_CHARS:,} characters. Send a shorter name.")
        name = policy.inspect_name(file_name)
        if isinstance(media_type, str):
            policy.inspect_media_type(name, media_type)
        size = _number(said, "size")
        if size is not None:
            policy.inspect_size(name, size)
        sha256 = said.get("sha256")
        if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
            raise MalformedRequest(
                "'sha256' is not 64 hexadecimal digits in lower case. Leave it out if you do not know it."
            )
        part_size = _part_bytes(said, size=size, name=name)
        is_declared = _number(body, "size") is not None
        return cls(
            declaration=Declaration(
                original_name=name.original,
                max_bytes=policy.max_file_bytes if size is None else size,
                sha256=sha256,
            ),
            # A page's own metadata may have a 'size' that was not meant for us. Without 'partSize' it only limits the
            # file, unless the file has one part.
            size=size if is_declared or part_size or (size is not None and size <= MIN_PART_BYTES) else None,
            part_bytes=part_size,
        )

    @classmethod
    def of_query(cls, arguments: Mapping[str, str], *, policy: Policy) -> Announcement:
        """The same of a query, in which Uppy writes ``metadata[name]=value``.

        :raises Problem: as :meth:`of`.
        """
        prefix = "metadata["
        metadata = {
            name[len(prefix) : -1]: value
            for name, value in arguments.items()
            if name.startswith(prefix) and name.endswith("]")
        }
        return cls.of({**arguments, "metadata": metadata}, policy=policy)


def _part_bytes(said: dict[str, Any], *, size: int | None, name: FileName) -> int | None:
    length = _number(said, "partSize")
    if length is None or size is None:
        return None
    least = max(min(MIN_PART_BYTES, size), -(-size // MAX_PARTS), 1)
    if not least <= length <= MAX_PART_BYTES:
        raise MalformedRequest(
            f"'{name.original}' cannot be sent in parts of {length:,} bytes: they have to hold {least:,} to "
            f"{MAX_PART_BYTES:,}. {part_bytes(size):,} would be good."
        )
    return length


def _useful(metadata: object) -> dict[str, Any]:
    """What is of use here of a widget's metadata. The rest is the page's own affair, under whatever names it likes."""
    if not isinstance(metadata, dict):
        return {}
    shapes = {"size": _NUMBER, "partSize": _NUMBER, "sha256": _SHA256}
    said = {name: metadata[name] for name in shapes if isinstance(metadata.get(name), (int, str))}
    return {name: value for name, value in said.items() if shapes[name].fullmatch(str(value))}


def _number(said: dict[str, Any], name: str) -> int | None:
    """A number of bytes: as a number, or as the text that a query or a form makes of it."""
    value = said.get(name)
    if value is None or value == "":
        return None
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise MalformedRequest(f"'{name}' is not a whole number of bytes. Leave it out if you do not know it.")
