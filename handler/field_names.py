"""The names of the form fields whose files are accepted."""

from __future__ import annotations

from collections.abc import Collection

FILE_FIELD = "file"
"""The name in our own page and in every example."""
DEFAULT_NAMES = (FILE_FIELD, "files")
ANY = "*"
BEARER_FIELD = "token"
"""The name of the form field that carries a token."""
RESERVED = (BEARER_FIELD, "filename", "for")
"""The names of fields and of query parameters that have a meaning of their own."""


def is_taken(field: str, names: Collection[str]) -> bool:
    """Return whether files in a form part with this name are accepted.

    :param field: the name of the part.
    :param names: the accepted names, which include their array forms. :data:`ANY` stands for all names.
    """
    return ANY in names or field in names or without_index(field) in names


def without_index(field: str) -> str:
    """Return the name of an array for the name of its element: ``file`` for ``file[]``, ``file[0]``, ``file-0`` and
    ``file0``, as axios, Dropzone, SunEditor and jQuery plugins write them. Other names stay as they are."""
    if field.endswith("]"):
        name, bracket, index = field[:-1].rpartition("[")
        return name if bracket and (not index or _is_number(index)) else field
    name = field.rstrip("0123456789")
    return name.removesuffix("-") if name != field else field


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
