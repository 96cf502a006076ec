"""Turns errors of the disk into our own error."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ...problems import StorageUnavailable

OWNER_ERRORS = frozenset((errno.EACCES, errno.ENOENT, errno.EPERM, errno.EROFS, errno.ENOTDIR))
"""The errors that only the owner can repair: the process may not write to the folder, it is not a folder, or somebody
removed it while the server runs."""


@contextmanager
def disk_errors(*, except_missing: bool = False) -> Iterator[None]:
    """Raise :class:`~handler.problems.StorageUnavailable` for an ``OSError``.

    The text of an ``OSError`` holds paths, so it is for the log.

    :param except_missing: let the error of a missing file or directory pass.
    """
    try:
        yield
    except OSError as error:
        if except_missing and isinstance(error, FileNotFoundError):
            raise
        raise StorageUnavailable(repr(error), is_misconfigured=error.errno in OWNER_ERRORS) from None
