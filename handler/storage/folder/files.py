"""Files in a folder.

::

    files/[<folder>/]<id>/<name>       checked files
    metadata/[<folder>.]<id>.json      the metadata of a file: original name, media type, SHA-256 and more
    expiring/<seconds>.<path>          a mark for a file that expires, with the time in seconds since 1970; its path is
                                       the name of its metadata. The directory is made for the first such file
    tmp/                               files that are being written

A file appears under ``files/`` by the rename of a whole directory, after its bytes and its metadata are on the disk. So
the file is there completely or not at all, even after a power loss. The system refuses to rename onto a directory that
is not empty, so a file never replaces another file. A delete begins with the file itself, and needs no room on the
disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from ...logs import logger
from ...problems import AlreadyExists, StorageUnavailable
from ...units import KIB
from .. import FilePage, ListedFile, StoredFile, is_key, is_path, new_id, path_of, split_key, split_path
from .durable import (
    copy_file,
    create,
    dump_record,
    make_directory,
    read_record,
    sync_directory,
    sync_file,
    write_all,
    write_new,
)
from .errors import disk_errors
from .listing import paths_after

STALE_SECONDS = 24 * 60 * 60
"""The age at which a directory under ``tmp/`` can no longer be an upload in progress."""
MAX_MEMORY_BYTES = 32 * KIB
"""How many bytes of each file are kept in memory. Werkzeug keeps 500,000 of each part of a form."""


class FolderOutbox(Protocol):
    """Takes the event of a file durably, before the file is stored (``webhooks/outbox.py``)."""

    def announce(self, file: StoredFile, /) -> AbstractContextManager[None]:
        """Write the event of a file that the body of the ``with`` statement stores.

        :raises OSError: the event cannot be written. Then the file must not be stored.
        """

    def confirm(self, files: Sequence[StoredFile], /) -> None:
        """Let the events be sent: all files of the request are stored. This never raises."""


class LocalStorage:
    """Files below a folder.

    :param folder: is made if it is missing.
    :param outbox: gets the event of every stored file.
    :raises OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, outbox: FolderOutbox | None = None) -> None:
        self.folder = folder.absolute()
        self._outbox = outbox
        for name in ("files", "metadata", "tmp"):
            make_directory(self.folder / name)
        self._check_writable()
        self.sweep()

    def _check_writable(self) -> None:
        """Fail now, and not at the first upload. A full disk does not fail: files can still be deleted."""
        try:
            tempfile.TemporaryFile(dir=self.folder / "tmp").close()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            logger.error("storage unavailable", extra={"reason": repr(error)})

    def open_writer(self, *, linked_to: Path | None = None) -> LocalWriter:
        """Begin a file.

        :param linked_to: a file on this disk that holds all bytes and never changes. The file gets a second name, and
            nothing is copied.
        :raises FileNotFoundError: that file is missing.
        """
        if linked_to is not None:
            return LocalWriter(self.folder, linked_to=linked_to, outbox=self._outbox)
        with disk_errors():
            return LocalWriter(self.folder, outbox=self._outbox)

    def find(self, file_id: str, name: str, folder: str | None = None) -> StoredFile | None:
        if not is_key(file_id, name, folder):
            return None
        with disk_errors():
            # The file first: metadata without a file may be half written.
            path = self._directory(file_id, folder) / name
            if not path.is_file():
                return None
            file = read_record(self._metadata(file_id, folder), StoredFile)  # None if deleted in between
            if file is None or (file.id, file.name, file.folder) != (file_id, name, folder):
                return None
            # Earlier versions of this program did not write the time.
            return file if file.stored else replace(file, stored=_last_modified(path))

    def contains(self, file_id: str, folder: str | None = None) -> bool:
        if not is_path(file_id, folder):
            return False
        with disk_errors():
            # An interrupted delete leaves an empty directory. A folder may be named after the id of a file.
            if not any(path.is_file() for path in entries(self._directory(file_id, folder))):
                return False
            return folder is None or not _differs(read_record(self._metadata(file_id, folder), StoredFile), folder)

    def list_files(self, folder: str | None = None, *, after: str = "", limit: int) -> FilePage:
        directory = self.folder / "files" / (folder or "")
        files = []
        with disk_errors():
            paths = paths_after(directory, after.split("/") if after else (), depth=2 if folder is None else 1)
            page = list(islice(paths, limit + 1))
            for path in page[:limit]:
                key = "/".join(("files", *([folder] if folder else []), *path))
                if (file := self._listed(key)) and folder in (None, file.folder):
                    files.append(file)
        return FilePage(files=files, position="/".join(page[limit - 1]) if len(page) > limit else None)

    def _listed(self, key: str) -> ListedFile | None:
        """Return a file in a list; ``None`` if it has expired, was deleted meanwhile, or is not a file of ours."""
        parts = split_key(key)
        file = self.find(*parts) if parts else None
        if file is None or file.stored is None or file.is_expired:
            return None
        return ListedFile(id=file.id, name=file.name, size=file.size, stored=file.stored, folder=file.folder)

    def download(self, file: StoredFile, *, head: bool = False, inline: bool = False) -> Path:  # noqa: ARG002
        return self._path(file)  # the endpoint itself sends the header fields

    def delete(self, file_id: str, name: str, folder: str | None = None) -> bool:
        if not is_key(file_id, name, folder):
            return False
        path = self._directory(file_id, folder) / name
        metadata = self._metadata(file_id, folder)
        with disk_errors():
            if folder is not None and _differs(read_record(metadata, StoredFile), folder):
                return False
            # Nothing is created or renamed here, so a full disk or damaged metadata does not prevent a delete.
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            with suppress(OSError):  # a sweep has removed the directory
                path.parent.rmdir()
            sync_directory(path.parent.parent)
            metadata.unlink(missing_ok=True)  # a sweep removes it if a power loss brings it back
        return True

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        for file in files:
            with suppress(StorageUnavailable):
                self.delete(file.id, file.name, file.folder)

    def confirm(self, files: Sequence[StoredFile]) -> None:
        if self._outbox:
            self._outbox.confirm(files)

    def release(self, file_id: str, folder: str | None = None) -> None:
        """Make an id free again if no whole file has it: a process was killed while it stored the file, or the metadata
        is damaged. No other thread and no other server may be storing a file under this id."""
        files = [path for path in entries(self._directory(file_id, folder)) if path.is_file()]
        if any(self.find(file_id, path.name, folder) for path in files):
            return
        for path in files:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is no directory, or a folder is named after this id
            self._directory(file_id, folder).rmdir()
        self._metadata(file_id, folder).unlink(missing_ok=True)

    def _directory(self, file_id: str, folder: str | None) -> Path:
        return self.folder / "files" / path_of(file_id, folder)

    def _path(self, file: StoredFile) -> Path:
        return self.folder / file.key

    def _metadata(self, file_id: str, folder: str | None) -> Path:
        return self.folder / "metadata" / f"{flat(path_of(file_id, folder))}.json"

    def sweep(self) -> None:
        """Remove expired files, and the files that killed processes left. Nobody could read the latter."""
        self._sweep_expired()
        stale = time.time() - STALE_SECONDS
        for path in (self.folder / "tmp").iterdir():
            with suppress(FileNotFoundError):  # another server on this folder has removed it
                if last_written(path) < stale:
                    shutil.rmtree(path, ignore_errors=True)
        for metadata in (self.folder / "metadata").iterdir():
            with suppress(FileNotFoundError):
                if metadata.stat().st_mtime < stale and not _is_occupied(self.folder / "files" / nested(metadata.stem)):
                    metadata.unlink()

    def _sweep_expired(self) -> None:
        """Delete the files that have expired. The mark goes last, so a killed sweep is repeated."""
        for mark in entries(self.folder / "expiring"):
            seconds, _, path = mark.name.partition(".")
            if seconds.isdecimal() and int(seconds) <= time.time():
                with suppress(OSError, StorageUnavailable):  # on Windows, a client may be reading the file
                    self._delete_expired(*split_path(nested(path)))
                    mark.unlink(missing_ok=True)

    def _delete_expired(self, file_id: str, folder: str | None) -> None:
        """Delete a file if it has expired, or if its metadata is damaged, so that its time is unknown.

        A mark can be older than the file: another process was killed while it stored the same file.
        """
        file = read_record(self._metadata(file_id, folder), StoredFile)
        if file is None:
            self.release(file_id, folder)
        elif file.is_expired:
            self.delete(file_id, file.name, folder)


class LocalWriter:
    """A file that is being written. It gets its own directory below ``tmp/``, which moves to ``files/`` as a whole.

    A small file is in memory until :meth:`commit`. That saves half of the calls of the system, and each call lets
    another thread of a busy server go first.

    :param linked_to: see :meth:`LocalStorage.open_writer`.
    :param outbox: see :class:`LocalStorage`.
    """

    def __init__(self, folder: Path, *, linked_to: Path | None = None, outbox: FolderOutbox | None = None) -> None:
        self.folder = folder
        self._outbox = outbox
        self._in_memory = bytearray()
        self._file: IO[bytes] | None = None
        """The file on the disk; ``None`` while the bytes are in memory."""
        self._path: str | None = None
        """The path of the file, in its own directory; ``None`` before there is one."""
        self._committed = False
        if linked_to is not None:
            self._file = self._open(linked_to)

    def write(self, data: bytes, /) -> None:
        with disk_errors():
            if self._file is None and len(self._in_memory) + len(data) <= MAX_MEMORY_BYTES:
                self._in_memory += data
            else:
                self._on_disk().write(data)

    def append(self, path: Path, *, size: int) -> None:
        """Append all bytes of another file.

        :param size: of the other file, in bytes.
        :raises OSError: the other file is missing or has another size, or the disk failed.
        """
        file = self._on_disk()
        file.flush()
        copy_file(path, file, size=size)

    def read(self, offset: int, length: int, /) -> bytes:
        if self._file is None:
            return bytes(self._in_memory[offset : offset + length])
        with disk_errors():
            self._file.seek(offset)
            data = self._file.read(length)
            self._file.seek(0, os.SEEK_END)
            return data

    def commit(self, file: StoredFile, /) -> None:
        with disk_errors(), self._claim(file) as metadata:
            write_all(metadata, dump_record(file).encode())
            directory = self._sync(file.name)
            os.fsync(metadata)
            sync_directory(f"{self.folder}/metadata")
            self._mark_expiry(file)
            target = f"{self.folder}/files/{file.path}"
            # The metadata is durable now, and so is the event. No power loss leaves a file without them.
            with self._outbox.announce(file) if self._outbox else nullcontext():
                self._move(directory, file.name, target)
            self._committed = True
        with disk_errors():
            sync_directory(os.path.dirname(target))

    def _on_disk(self) -> IO[bytes]:
        """Return the file, after the bytes in memory were written to it."""
        if self._file is None:
            self._file = self._open()
            self._file.write(self._in_memory)
            self._in_memory.clear()
        return self._file

    def _open(self, linked_to: Path | None = None) -> IO[bytes]:
        """Make the own directory, and open the file in it."""
        self._path = self._new_path("data")
        try:
            if linked_to is not None:
                os.link(linked_to, self._path)
            return open(self._path, "x+b" if linked_to is None else "rb")
        except BaseException:  # such as an OSError, when no file descriptor is left
            _remove(self._path)
            raise

    def _new_path(self, name: str) -> str:
        """Make the own directory, and return the path of a file in it.

        The paths of a writer are text: ``pathlib`` would take a tenth of the CPU time of a small upload.
        """
        directory = os.path.join(self.folder, "tmp", new_id())
        os.mkdir(directory, 0o700)
        return f"{directory}/{name}"

    def _sync(self, name: str) -> str:
        """Make the bytes and the name of the file durable. Return its own directory."""
        if self._file is None or self._path is None:
            self._path = self._new_path(name)
            write_new(self._path, self._in_memory)
            directory = os.path.dirname(self._path)
        else:
            sync_file(self._file)
            self._file.close()
            directory = os.path.dirname(self._path)
            os.rename(self._path, f"{directory}/{name}")
            self._path = f"{directory}/{name}"
        sync_directory(directory)
        return directory

    def _move(self, directory: str, name: str, target: str) -> None:
        """Make the file readable: rename its directory, or only the file if a folder is named after the file's id."""
        try:
            os.rename(directory, target)
        except FileNotFoundError:  # the first file of a folder
            make_directory(Path(target).parent)
            os.rename(directory, target)
        except OSError:
            if not any(path.is_dir() for path in entries(Path(target))):
                raise
            os.rename(f"{directory}/{name}", f"{target}/{name}")
            sync_directory(target)
            _remove(f"{directory}/{name}")

    def _mark_expiry(self, file: StoredFile) -> None:
        """Write the mark by which a sweep finds a file that expires, durably and before anyone can read the file."""
        if file.expires is not None:
            marks = self.folder / "expiring"
            make_directory(marks)
            (marks / f"{int(file.expires.timestamp())}.{flat(file.path)}").touch()
            sync_directory(marks)

    def abort(self) -> None:
        if self._committed:
            return
        if self._file is not None:
            with suppress(OSError):  # closing writes the buffer, and fails again on a full disk
                self._file.close()
        if self._path is not None:
            _remove(self._path)

    @contextmanager
    def _claim(self, file: StoredFile) -> Iterator[int]:
        """Make the metadata file of an id, new and empty, and yield its descriptor.

        The writer that makes the file gets the id. If the body of the ``with`` statement fails, the file is removed.
        """
        path = f"{self.folder}/metadata/{flat(file.path)}.json"
        try:
            descriptor = create(path)
        except FileExistsError:
            raise AlreadyExists(f"There is a file with the id {file.id} already.") from None
        try:
            yield descriptor
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def flat(path: str) -> str:
    """Return the path of a file as one name: ``<folder>.<id>``. Neither part has a dot."""
    return path.replace("/", ".")


def nested(name: str) -> str:
    """Return the path that :func:`flat` made one name of."""
    return name.replace(".", "/")


def _differs(file: StoredFile | None, folder: str) -> bool:
    """Return whether a file is in another folder, for file systems that ignore case: there ``u1`` finds ``U1``."""
    return file is not None and file.folder != folder


def _last_modified(path: Path) -> datetime:
    """:raises FileNotFoundError: the file was deleted meanwhile."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)


def _remove(path: str) -> None:
    """Remove a file, if it exists, and its own directory. ``shutil.rmtree`` would need file descriptors, and a lack of
    file descriptors is one reason for this clean-up."""
    with suppress(OSError):
        Path(path).unlink(missing_ok=True)
        os.rmdir(os.path.dirname(path))


def _is_occupied(directory: Path) -> bool:
    """Return whether a directory holds a file. An empty directory is the rest of a killed delete, and is removed."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return False
    except OSError:  # POSIX, rmdir(): EEXIST or ENOTEMPTY
        return True
    return False


def entries(directory: Path) -> list[Path]:
    """Return the entries of a directory; an empty list if the directory is missing.

    ``Path.glob()`` of Python 3.11 and 3.12 fails if the directory is removed at the same moment.

    :raises OSError: the directory cannot be read.
    """
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def last_written(path: Path) -> float:
    """Return the time of the last write to a file, or to anything below a directory.

    The time of a directory itself does not change while a file in the directory grows.
    """
    return max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
