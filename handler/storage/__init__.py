"""Where files are kept: what every storage can do, in the words that the rest of the code uses."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def new_id() -> str:
    """A fresh id: 128 random bits, in lower-case hexadecimal since some file systems ignore case."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file that passed every check.

    :param id: see :func:`new_id`.
    :param name: the safe name.
    :param original_name: the client's name, for people.
    :param size: in bytes.
    :param media_type: what it is served as.
    :param sha256: of its bytes, in hexadecimal; ``None`` where nobody has read all of them, which is so for a file that
        was sent straight to the storage without a digest to verify.
    """

    id: str
    name: str
    original_name: str
    size: int
    media_type: str
    sha256: str | None

    @property
    def key(self) -> str:
        """The object key, and the path below the upload folder."""
        return f"files/{self.id}/{self.name}"

    @property
    def content_disposition(self) -> str:
        """Always an attachment, under the original name: ``filename`` in ASCII for old clients (RFC 6266, appendix D),
        ``filename*`` in UTF-8 where that says more (RFC 8187)."""
        disposition = f'attachment; filename="{self.name}"'
        if self.original_name != self.name:
            disposition += f"; filename*=UTF-8''{quote(self.original_name, safe='!#$&+-.^_`|~')}"
        return disposition


def is_id(text: str) -> bool:
    """Whether this could be an id: what comes from outside is asked this before it is used."""
    return bool(_ID.fullmatch(text))


def is_key(file_id: str, name: str) -> bool:
    """Whether a file could be stored under this id and name: what comes from a URL is asked this before it is used."""
    return is_id(file_id) and bool(_NAME.fullmatch(name))


class Writer(Protocol):
    """Bytes on their way in: nobody can read them before :meth:`commit`, and without it nothing is left of them.

    Every method may raise :class:`~handler.problems.StorageUnavailable`.
    """

    def write(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Up to so many of the bytes written so far, for the checks that come before :meth:`commit`."""

    def commit(self, file: StoredFile, /) -> None:
        """Make all the bytes readable at once, as this file.

        :raises AlreadyExists: there is a file with this id; it is left as it is.
        """

    def abort(self) -> None:
        """Forget the bytes. Does nothing after :meth:`commit` or a second time, and never raises."""


class Storage(Protocol):
    """A place for files. Every method may raise :class:`~handler.problems.StorageUnavailable`."""

    def open_writer(self) -> Writer:
        """Begin a file."""

    def find(self, file_id: str, name: str) -> StoredFile | None:
        """The file of that id and name, if it is there."""

    def contains(self, file_id: str) -> bool:
        """Whether a file of that id is there, by whatever name. On S3 this costs one call."""

    def download(self, file: StoredFile, *, head: bool = False) -> Path | str:
        """Where its bytes are: a path on this machine, or a URL that anyone may read for a few minutes.

        :param head: the URL is for a HEAD request (a signature covers the method).
        """

    def delete(self, file_id: str, name: str) -> bool:
        """Remove it; ``False`` if it was not there."""

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        """Remove these, of whom nobody was told and some may not be there: now, without asking twice. Never raises."""
