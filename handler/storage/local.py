"""Files in a folder.

::

    files/<id>/<name>       checked files
    metadata/<id>.json      what an object in a bucket carries itself: original name, media type, SHA-256
    tmp/                    files on their way in

A file appears under ``files/`` by the rename of a whole directory, with its bytes already on disk. So it is there
completely or not at all, whatever happens in between, and since the system refuses to rename onto a directory that is
not empty, it never replaces anything.
"""

from __future__ import annotations

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

from ..problems import AlreadyExists, StorageUnavailable
from . import StoredFile, is_id, is_key
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
        for place in ("files", "metadata", "tmp"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self.folder / "tmp").close()  # says now, and not at the first upload, if it can't
        self.sweep()

    def open_writer(self) -> LocalWriter:
        with disk_errors():
            return LocalWriter(self.folder)

    def find(self, id: str, name: str) -> StoredFile | None:  # noqa: A002
        if not is_key(id, name):
            return None
        with disk_errors():
            # The file first: metadata without one may be half written.
            if not (self.folder / "files" / id / name).is_file():
                return None
            try:
                return StoredFile(**json.loads(self._metadata(id).read_text(encoding="utf-8")))
            except FileNotFoundError:  # it was deleted between the two looks
                return None

    def contains(self, id: str) -> bool:  # noqa: A002
        with disk_errors():
            return is_id(id) and (self.folder / "files" / id).is_dir()

    def download(self, file: StoredFile, *, head: bool = False) -> Path:  # noqa: ARG002  (one path serves both)
        return self._path(file)

    def delete(self, id: str, name: str) -> bool:  # noqa: A002
        file = self.find(id, name)
        if file is None:
            return False
        with disk_errors():
            # Out of sight in one step, and only then piece by piece.
            grave = Path(tempfile.mkdtemp(dir=self.folder / "tmp"))
            try:
                self._path(file).parent.rename(grave)
            except FileNotFoundError:  # somebody else was faster
                return False
            finally:
                _remove(grave / name)
            self._metadata(id).unlink(missing_ok=True)
            return True

    def take_back(self, files: Sequence[StoredFile]) -> None:
        for file in files:
            with suppress(StorageUnavailable):
                self.delete(file.id, file.name)

    def release(self, id: str) -> None:  # noqa: A002
        """Give an id free again that was claimed by a process which was killed before its file was there. Nobody may be
        storing a file under it at this moment."""
        if not (self.folder / "files" / id).exists():
            self._metadata(id).unlink(missing_ok=True)

    def _path(self, file: StoredFile) -> Path:
        return self.folder / file.key

    def _metadata(self, id: str) -> Path:  # noqa: A002
        return self.folder / "metadata" / f"{id}.json"

    def sweep(self) -> None:
        """Remove what a process that was killed left behind; none of it was ever readable."""
        stale = time.time() - STALE_SECONDS
        for place in (self.folder / "tmp").iterdir():
            with suppress(FileNotFoundError):  # another server on this folder was faster
                if last_written(place) < stale:
                    shutil.rmtree(place, ignore_errors=True)
        for metadata in (self.folder / "metadata").iterdir():
            with suppress(FileNotFoundError):
                if metadata.stat().st_mtime < stale and not (self.folder / "files" / metadata.stem).exists():
                    metadata.unlink()


class LocalWriter:
    """A file in the making: a directory of its own below ``tmp/`` that moves to ``files/`` as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = Path(tempfile.mkdtemp(dir=folder / "tmp")) / "data"
        self._committed = False
        try:
            self._file = self._path.open("x+b")
        except BaseException:  # it takes one file descriptor more than there may be
            _remove(self._path)
            raise

    def write(self, data: bytes, /) -> None:
        with disk_errors():
            self._file.write(data)

    def read(self, offset: int, length: int, /) -> bytes:
        with disk_errors():
            self._file.seek(offset)
            data = self._file.read(length)
            self._file.seek(0, os.SEEK_END)
            return data

    def commit(self, file: StoredFile, /) -> None:
        with disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path = self._path.rename(self._path.with_name(file.name))
            _fsync(self._path.parent)
            with self._claim(file.id) as metadata:
                json.dump(asdict(file), metadata, ensure_ascii=False)
                metadata.flush()
                os.fsync(metadata.fileno())
                self._path.parent.rename(self.folder / "files" / file.id)
            self._committed = True
            _fsync(self.folder / "files")
            _fsync(self.folder / "metadata")

    def abort(self) -> None:
        if not self._committed:
            with suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
                self._file.close()
            _remove(self._path)

    @contextmanager
    def _claim(self, id: str) -> Iterator[IO[str]]:  # noqa: A002
        """The metadata file of that id, new and empty: whoever makes it has the id. It goes again if the rest fails."""
        path = self.folder / "metadata" / f"{id}.json"
        try:
            metadata = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise AlreadyExists(f"There is a file with the id {id} already.") from None
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


def last_written(path: Path) -> float:
    """When it was, or anything in it: a directory's own time stands still while a file in it grows."""
    return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))


def _fsync(directory: Path) -> None:
    """Make a rename in this directory last (POSIX: renaming is not durable before its directory is)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
