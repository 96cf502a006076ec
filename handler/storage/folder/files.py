"""Files in a folder.

::

    files/<id>/<name>       checked files
    metadata/<id>.json      what an object in a bucket carries itself: original name, media type, SHA-256
    tmp/                    files on their way in

A file appears under ``files/`` by the rename of a whole directory, with its bytes and its metadata already on disk. So
it is there completely or not at all, also after a power loss. The system refuses to rename onto a directory that is not
empty, so a file never replaces another one. Deleting begins with the file itself, which needs no room on the disk.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from ...logs import logger
from ...problems import AlreadyExists, StorageUnavailable
from .. import StoredFile, is_id, is_key
from .durable import copy_file, make_directory, read_record, sync_directory, sync_file
from .errors import disk_errors

STALE_SECONDS = 24 * 60 * 60
"""When something under ``tmp/`` cannot be an upload in progress any more."""


class LocalStorage:
    """Files below a folder.

    :param folder: made if it is missing.
    :raises OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        for name in ("files", "metadata", "tmp"):
            make_directory(self.folder / name)
        self._check_that_it_takes_files()
        self.sweep()

    def _check_that_it_takes_files(self) -> None:
        """Fail now, and not at the first upload. A full disk is no reason to fail: files can still be deleted."""
        try:
            tempfile.TemporaryFile(dir=self.folder / "tmp").close()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            logger.error("storage unavailable", extra={"reason": repr(error)})

    def open_writer(self, *, linked_to: Path | None = None) -> LocalWriter:
        """Begin a file.

        :param linked_to: a file on this disk that holds all the bytes and never changes. It gets a second name, and
            nothing is copied.
        :raises FileNotFoundError: it is not there.
        """
        if linked_to is not None:
            return LocalWriter(self.folder, linked_to=linked_to)
        with disk_errors():
            return LocalWriter(self.folder)

    def find(self, file_id: str, name: str) -> StoredFile | None:
        if not is_key(file_id, name):
            return None
        with disk_errors():
            # The file first: metadata without one may be half written.
            if not (self.folder / "files" / file_id / name).is_file():
                return None
            file = read_record(self._metadata(file_id), StoredFile)  # None if it was deleted between the two looks
        return file if file and (file.id, file.name) == (file_id, name) else None

    def contains(self, file_id: str) -> bool:
        with disk_errors():
            # An empty directory is the rest of a delete.
            return is_id(file_id) and bool(entries(self.folder / "files" / file_id))

    def download(self, file: StoredFile, *, head: bool = False) -> Path:  # noqa: ARG002  (one path serves both)
        return self._path(file)

    def delete(self, file_id: str, name: str) -> bool:
        if not is_key(file_id, name):
            return False
        path = self.folder / "files" / file_id / name
        with disk_errors():
            # Nothing is created, renamed or read here: a full disk, or damaged metadata, must not prevent it.
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            with suppress(OSError):  # a sweep was faster
                path.parent.rmdir()
            sync_directory(self.folder / "files")
            self._metadata(file_id).unlink(missing_ok=True)  # if a power loss brings this back, a sweep removes it
        return True

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        for file in files:
            with suppress(StorageUnavailable):
                self.delete(file.id, file.name)

    def release(self, file_id: str) -> None:
        """Make an id free again if no whole file has it: a process was killed while it stored one, or the metadata is
        damaged. No other thread and no other server may be storing a file under this id."""
        directory = self.folder / "files" / file_id
        if any(self.find(file_id, path.name) for path in entries(directory)):
            return
        shutil.rmtree(directory, ignore_errors=True)
        self._metadata(file_id).unlink(missing_ok=True)

    def _path(self, file: StoredFile) -> Path:
        return self.folder / file.key

    def _metadata(self, file_id: str) -> Path:
        return self.folder / "metadata" / f"{file_id}.json"

    def sweep(self) -> None:
        """Remove the remains of killed processes. None of these files could be read."""
        stale = time.time() - STALE_SECONDS
        for path in (self.folder / "tmp").iterdir():
            with suppress(FileNotFoundError):  # another server on this folder was faster
                if last_written(path) < stale:
                    shutil.rmtree(path, ignore_errors=True)
        for metadata in (self.folder / "metadata").iterdir():
            with suppress(FileNotFoundError):
                if metadata.stat().st_mtime < stale and not _holds_something(self.folder / "files" / metadata.stem):
                    metadata.unlink()


class LocalWriter:
    """A file in the making: a directory of its own below ``tmp/`` that moves to ``files/`` as a whole.

    :param linked_to: see :meth:`LocalStorage.open_writer`.
    """

    def __init__(self, folder: Path, *, linked_to: Path | None = None) -> None:
        self.folder = folder
        self._path = Path(tempfile.mkdtemp(dir=folder / "tmp")) / "data"
        self._committed = False
        try:
            if linked_to is not None:
                os.link(linked_to, self._path)
            self._file = self._path.open("x+b" if linked_to is None else "rb")
        except BaseException:  # such as no file descriptor left
            _remove(self._path)
            raise

    def write(self, data: bytes, /) -> None:
        with disk_errors():
            self._file.write(data)

    def append(self, path: Path, *, size: int) -> None:
        """Add all bytes of another file.

        :param size: of that file, in bytes.
        :raises OSError: it is missing or has another size, or the disk failed.
        """
        self._file.flush()
        copy_file(path, self._file, size=size)

    def read(self, offset: int, length: int, /) -> bytes:
        with disk_errors():
            self._file.seek(offset)
            data = self._file.read(length)
            self._file.seek(0, os.SEEK_END)
            return data

    def commit(self, file: StoredFile, /) -> None:
        with disk_errors():
            sync_file(self._file)
            self._file.close()
            self._path = self._path.rename(self._path.with_name(file.name))
            sync_directory(self._path.parent)
            with self._claim(file.id) as metadata:
                json.dump(asdict(file), metadata, ensure_ascii=False)
                sync_file(metadata)
                sync_directory(self.folder / "metadata")
                # The metadata is durable by now: after a power loss there is no file without it.
                self._path.parent.rename(self.folder / "files" / file.id)
            self._committed = True
            sync_directory(self.folder / "files")

    def abort(self) -> None:
        if not self._committed:
            with suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
                self._file.close()
            _remove(self._path)

    @contextmanager
    def _claim(self, file_id: str) -> Iterator[IO[str]]:
        """The metadata file of that id, new and empty: whoever makes it has the id. It goes again if the rest fails."""
        path = self.folder / "metadata" / f"{file_id}.json"
        try:
            metadata = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise AlreadyExists(f"There is a file with the id {file_id} already.") from None
        with metadata:
            try:
                yield metadata
            except BaseException:
                path.unlink(missing_ok=True)
                raise


def _remove(path: Path) -> None:
    """Remove a file, if it is there, and the directory that was made for it alone. ``shutil.rmtree`` needs file
    descriptors for that, and to have none left is one of the reasons to clean up."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _holds_something(directory: Path) -> bool:
    """Whether there is a file in it. An empty directory, which a killed delete left, is removed."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return False
    except OSError:  # POSIX, rmdir(): EEXIST or ENOTEMPTY
        return True
    return False


def entries(directory: Path) -> list[Path]:
    """Return all that is in a directory; nothing if the directory is missing, or is removed at this moment, where
    ``Path.glob()`` of Python 3.11 and 3.12 fails.

    :raises OSError: the directory cannot be read.
    """
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def last_written(path: Path) -> float:
    """Return the time of the last write to a file, or to anything below a directory: a directory's own time stands
    still while a file in it grows."""
    return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
