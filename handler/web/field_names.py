"""The names of the form parts in which files are taken. Pure."""

from __future__ import annotations

from collections.abc import Collection

FILE_FIELD = "file"
"""The name that our own page and every example use."""
DEFAULT_NAMES = (FILE_FIELD, "files")
ANY = "*"


def is_taken(field: str, names: Collection[str]) -> bool:
    """Whether a file is taken from a part of that name.

    :param field: the name of the part.
    :param names: the names that are taken, each in its array forms too; :data:`ANY` among them stands for all.
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
