"""The storage of files: the interface that every storage has, in the terms that the rest of the code uses.

Simple values are named tuples, here and in ``direct/``: to make a dataclass takes half a millisecond of a cold start.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

KEEP_DAYS = (1, 7, 30, 90, 365)
"""The days after which a file can expire. The bucket has a lifecycle rule for each of them (``template.yaml``)."""

MAX_PAGE_FILES = 1000
"""The maximum number of files in a page of a list, which is S3's (AWS: "ListObjectsV2", max-keys)."""

_ID = re.compile(r"[0-9a-f]{32}")
_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def new_id() -> str:
    """Return a fresh file id: 128 random bits in lower-case hexadecimal, because some file systems ignore case."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file that passed every check.

    :param id: see :func:`new_id`.
    :param name: the safe name.
    :param original_name: the client's name, for people.
    :param size: in bytes.
    :param media_type: the ``Content-Type`` that the file is served with.
    :param sha256: the digest of the content, in hexadecimal; ``None`` if neither the endpoint nor the storage hashed
        the whole file. A file of more than 256 MiB that a client sent straight to the storage is hashed only if the
        client declared a digest.
    :param stored: the time at which the file was stored, in UTC and whole seconds.
    :param subject: the ``sub`` of the client's token, if the token has one.
    :param folder: the folder of a user or tenant, from the client's token. The file's path begins with it.
    :param meta: the JSON object in the client's token. The application chose it.
    :param fields: the form fields that ``METADATA_FIELDS`` names, as the client sent them.
    :param keep_days: the number of days after which the file expires; ``None`` if it never expires.
    """

    id: str
    name: str
    original_name: str
    size: int
    media_type: str
    sha256: str | None
    stored: datetime | None = None
    subject: str | None = None
    folder: str | None = None
    meta: Mapping[str, Any] | None = None
    fields: Mapping[str, str] | None = None
    keep_days: int | None = None

    @property
    def path(self) -> str:
        """The id, after the folder if the file has one: see :func:`path_of`."""
        return path_of(self.id, self.folder)

    @property
    def key(self) -> str:
        """The key of the object in a bucket, and the path below the upload folder."""
        return f"files/{self.path}/{self.name}"

    @property
    def expires(self) -> datetime | None:
        """The time at which the file expires; ``None`` if it never expires."""
        if self.stored is None or self.keep_days is None:
            return None
        return self.stored + timedelta(days=self.keep_days)

    @property
    def is_expired(self) -> bool:
        """Whether the file has expired. The storage may still have to delete it."""
        return self.expires is not None and self.expires <= datetime.now(UTC)

    @property
    def content_disposition(self) -> str:
        """The header field of a download as an attachment, under the original name."""
        return self._disposition("attachment")

    @property
    def inline_disposition(self) -> str:
        """The header field of a file that a browser shows. The name is for a person who saves the file all the same."""
        return self._disposition("inline")

    def _disposition(self, kind: str) -> str:
        """Return ``Content-Disposition``.

        ``filename`` is in ASCII, for old clients (RFC 6266, appendix D). ``filename*`` is in UTF-8 (RFC 8187), and is
        only there if the two names differ.
        """
        disposition = f'{kind}; filename="{self.name}"'
        if self.original_name != self.name:
            disposition += f"; filename*=UTF-8''{quote(self.original_name, safe='!#$&+-.^_`|~')}"
        return disposition


class ListedFile(NamedTuple):
    """A file in a list. S3 lists these attributes and no others.

    :param id: see :func:`new_id`.
    :param name: the safe name.
    :param size: in bytes.
    :param stored: the time at which the file was stored, in UTC.
    :param folder: the folder of the file; ``None`` for a file without one.
    """

    id: str
    name: str
    size: int
    stored: datetime
    folder: str | None = None


class FilePage(NamedTuple):
    """A page of a list. It can hold fewer files than the client asked for, and even none, before the end of the list.

    :param position: the place at which the next page begins; ``None`` after the last page.
    """

    files: Sequence[ListedFile]
    position: str | None


class Details(NamedTuple):
    """The attributes of a :class:`StoredFile` that come from the client's token and from form fields."""

    subject: str | None = None
    folder: str | None = None
    meta: Mapping[str, Any] | None = None
    fields: Mapping[str, str] | None = None
    keep_days: int | None = None


NO_DETAILS = Details()


def is_id(text: str) -> bool:
    """Return whether a text has the form of a file id. Every id from a client is checked before it is used."""
    return bool(_ID.fullmatch(text))


def is_folder(text: str) -> bool:
    """Return whether a text can be the folder of a user or tenant: up to 64 letters, digits, ``_`` and ``-``."""
    return bool(_FOLDER.fullmatch(text))


def is_path(file_id: str, folder: str | None) -> bool:
    """Return whether a file could have this id and folder."""
    return is_id(file_id) and (folder is None or is_folder(folder))


def is_key(file_id: str, name: str, folder: str | None = None) -> bool:
    """Return whether a file could have this id, name and folder. All are checked before a URL's path is used."""
    return is_path(file_id, folder) and bool(_NAME.fullmatch(name))


def path_of(file_id: str, folder: str | None) -> str:
    """Return ``<folder>/<id>``, or ``<id>`` without a folder: the path of a file below ``files/`` and ``incoming/``."""
    return f"{folder}/{file_id}" if folder is not None else file_id


def split_key(key: str) -> tuple[str, str, str | None] | None:
    """Return the id, the name and the folder in the key of a file; ``None`` if no file has this key.

    An application may name a folder after an id. Only the number of slashes distinguishes such keys.
    """
    files, *folders, file_id, name = key.split("/") if key.count("/") in (2, 3) else ("", "", "")
    folder = folders[0] if folders else None
    return (file_id, name, folder) if files == "files" and is_key(file_id, name, folder) else None


def split_path(path: str) -> tuple[str, str | None]:
    """Return the id and the folder in a path that :func:`path_of` made."""
    folder, _, file_id = path.rpartition("/")
    return file_id, folder or None


def now() -> datetime:
    """Return the time of the moment, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Writer(Protocol):
    """A file that is being written. Nobody can read it before :meth:`commit`. Without a commit, nothing of it stays.

    Every method may raise :class:`~handler.problems.StorageUnavailable`.
    """

    def write(self, data: bytes, /) -> None:
        """Append the next bytes."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return up to ``length`` of the bytes written so far, for the checks before :meth:`commit`."""

    def commit(self, file: StoredFile, /) -> None:
        """Make all bytes readable at once, as this file.

        :raises AlreadyExists: there is a file with this id. That file stays as it is.
        """

    def abort(self) -> None:
        """Discard the bytes. After :meth:`commit`, or a second time, this does nothing. This method never raises."""


class Storage(Protocol):
    """A storage of checked files. Every method may raise :class:`~handler.problems.StorageUnavailable`."""

    def open_writer(self) -> Writer:
        """Begin a new file."""

    def find(self, file_id: str, name: str, folder: str | None = None) -> StoredFile | None:
        """Return the file with this id and name in this folder; ``None`` if there is no such file."""

    def list_files(self, folder: str | None = None, *, after: str = "", limit: int) -> FilePage:
        """Return a page of the list of all files, in no particular order. On S3 this takes one call.

        An expired file stays in the list until the storage deletes it.

        :param folder: list only the files in this folder; ``None`` to list all files.
        :param after: the position that the previous page returned; empty for the first page. Any
            printable text of up to 900 bytes is accepted.
        :param limit: the maximum number of files, from 1 to :data:`MAX_PAGE_FILES`.
        """

    def contains(self, file_id: str, folder: str | None = None) -> bool:
        """Return whether there is a file with this id in this folder, under any name.

        On S3 this takes one call, which sees a file next to a folder that is named after its id: unless the folder
        has a thousand files before it.
        """

    def download(self, file: StoredFile, *, head: bool = False, inline: bool = False) -> Path | str:
        """Return the location of the content: a path on this machine, or a URL that anyone can read for a few minutes.

        The URL of a file that expires is not valid for longer than the file.

        :param head: the URL is for a HEAD request. A signature covers the method.
        :param inline: a response from the URL has :attr:`StoredFile.inline_disposition`.
        """

    def delete(self, file_id: str, name: str, folder: str | None = None) -> bool:
        """Delete a file. Return ``False`` if there is no such file."""

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        """Best-effort delete of files that were never reported to a client. Some may not exist. Never raises."""

    def confirm(self, files: Sequence[StoredFile]) -> None:
        """Note that the files of a request are stored, all of them, so that their events are sent. Never raises."""
