"""The fields that a client sends with its files: those that ``METADATA_FIELDS`` names are kept. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from ..problems import MalformedRequest

MAX_SHOWN_NAME_CHARS = 100
"""How much of a field's name a response shows."""
WIDGET_METADATA = frozenset(
    ("filename", "filetype", "name", "partSize", "relativePath", "sha256", "size", "type", "webkitRelativePath")
)
"""The members of a widget's metadata that describe the file itself. Uppy sends some of them with each file."""


class MetadataFields:
    """The fields of one request.

    :param names: the names in ``METADATA_FIELDS``.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)
        self._ignored: dict[str, None] = {}
        self.kept: dict[str, str] = {}
        """The fields that are kept with the files, by name."""

    def add(self, name: str, value: str) -> None:
        """Keep a field, or note that it is ignored.

        :raises MalformedRequest: the request has two values for a field that is kept.
        """
        if name not in self.names:
            self._ignored[name[:MAX_SHOWN_NAME_CHARS]] = None
        elif self.kept.setdefault(name, value) != value:
            raise MalformedRequest(f"The field '{name}' has two values. Send it once: all files get the same value.")

    def add_metadata(self, metadata: object) -> None:
        """Add the members of a widget's metadata object. Values that are not text are kept as JSON.

        :param metadata: as the client sent it. Anything but an object has no fields.
        """
        for name, value in (metadata if isinstance(metadata, dict) else {}).items():
            if value is not None and (name in self.names or name not in WIDGET_METADATA):
                self.add(_valid(name), _valid(value if isinstance(value, str) else json.dumps(value)))

    @property
    def ignored(self) -> Mapping[str, Any]:
        """The member ``ignored_fields`` of a response, if there are any such fields."""
        return ignored_member(self.ignored_names)

    @property
    def ignored_names(self) -> tuple[str, ...]:
        """The names of the fields that are not kept."""
        return tuple(self._ignored)


def ignored_member(names: Collection[str]) -> Mapping[str, Any]:
    """Return the member ``ignored_fields`` of a response; nothing without names."""
    return {"ignored_fields": list(names)} if names else {}


def _valid(text: str) -> str:
    """Return a text without lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
