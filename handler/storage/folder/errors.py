"""Turns errors of the disk into our own error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...problems import StorageUnavailable


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise :class:`~handler.problems.StorageUnavailable` for an ``OSError``.

    The text of an ``OSError`` holds paths, so it is for the log.
    """
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(repr(error)) from None
