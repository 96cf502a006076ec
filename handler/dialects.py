"""Client dialects: the names, the response shapes and the statuses that editors and upload widgets expect. Pure.

``POST /upload?for=NAME`` chooses one. It is used only where ``for`` is in the query, and imported only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A response in the client's own shape.

    :param status: the HTTP status that makes the client show the result or the reason.
    :param body: text is sent as ``text/plain``, anything else as JSON.
    """

    status: int
    body: str | Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """One client's way to name its files and to read the response.

    :param name: the value of ``for``, in lower case.
    :param fields: the names of the form parts in which this client sends files by default. Each is taken in its array
        forms too: ``upload`` stands for ``upload[]``, ``upload[0]``, ``upload-0`` and ``upload0`` as well.
    :param stored: returns the response after all files were stored. Its argument has one entry for each file, as
        :func:`handler.upload.entry_of` makes it; ``url`` and ``location`` are missing where ``DOWNLOADS`` is off.
    :param refused: returns the response to a request that failed. Its argument is the problem object (RFC 9457) that
        other clients get; ``detail`` is the sentence for a person.
    """

    name: str
    fields: tuple[str, ...]
    stored: Callable[[Sequence[Mapping[str, Any]]], Reply]
    refused: Callable[[Mapping[str, Any]], Reply]


DIALECTS: dict[str, Dialect] = {}
"""Every dialect by its name."""


def find(name: str) -> Dialect | None:
    """Return the dialect of that name, in any case of letters; ``None`` if there is none."""
    return DIALECTS.get(name.lower())


def names() -> list[str]:
    """Return the names of all dialects, in alphabetical order."""
    return sorted(DIALECTS)
