"""Files that survive a power loss, and records that are checked when they are read.

The system may keep a written file, and a change of a directory's entries, in memory for a minute. Only ``fsync`` brings
each to the disk (POSIX.1-2024, ``fsync()``; Linux ``fsync(2)``: syncing a file does not sync its directory's entry). So
nothing is answered before the bytes *and* the directories that lead to them are synced.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar, get_type_hints

from ...logs import logger

Record = TypeVar("Record")

_CANNOT_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}
"""Errors of ``copy_file_range(2)`` that say only that this kernel, file system or container cannot do it."""


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable: the files created, renamed or removed in it.

    :raises OSError: the disk failed. A file system that cannot sync directories (EINVAL, EBADF) is not an error:
        nothing more can be done there. Neither is Windows, which cannot open a directory.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory, and its parents, durably. Nothing happens to those that exist.

    :raises OSError: one cannot be made.
    """
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)  # another server may be starting on this folder
        with suppress(PermissionError):  # a parent can be writable and not readable
            sync_directory(made.parent)


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file that does not exist yet, and sync its bytes, but not its directory.

    :param mode: its permissions, before the umask.
    :raises OSError: it exists, or cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        sync_file(file)


def sync_file(file: IO[Any]) -> None:
    """Make the bytes of an open file durable. Windows syncs only files that are open for writing.

    :raises OSError: the disk failed, or is full.
    """
    if file.writable() or os.name != "nt":
        file.flush()
        os.fsync(file.fileno())


def read_record(path: Path, record: type[Record]) -> Record | None:
    """Return the dataclass that a file holds as a JSON object; ``None`` if the file is missing or damaged.

    A damaged file is logged and counts as missing, so that a failing disk does not cause a 500 for each request.

    :param record: a dataclass whose fields have types that ``isinstance`` understands.
    :raises OSError: the file cannot be read.
    """
    values = read_object(path)
    if values is None:
        return None
    types = get_type_hints(record)
    try:
        found = record(**values)
        if all(isinstance(getattr(found, name), type_) for name, type_ in types.items()):
            return found
    except TypeError:  # members of other names
        pass
    log_damaged(path)
    return None


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object that a file holds; ``None`` if the file is missing, or damaged, which is logged.

    :raises OSError: the file cannot be read.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        values = None
    if isinstance(values, dict):
        return values
    log_damaged(path)
    return None


def log_damaged(path: Path, **more: Any) -> None:
    """Log that a file or directory is damaged, so that somebody looks at the disk.

    :param more: further members of the log line.
    """
    logger.error("damaged file", extra={"file": f"{path.parent.name}/{path.name}", **more})


def copy_file(source: Path, target: IO[bytes], *, size: int) -> None:
    """Append a whole file to an open one. The kernel copies where it can: the bytes do not pass through this process,
    and file systems that can share blocks copy nothing.

    :param target: flushed, and at its end.
    :param size: of the source, in bytes.
    :raises OSError: the source is missing or has another size, or the disk failed.
    """
    with source.open("rb", buffering=0) as file:
        _check_length(source, os.fstat(file.fileno()).st_size, size)
        copied = _copy_in_kernel(file, target, size=size)
        target.seek(0, os.SEEK_END)  # the kernel moved the position behind Python's back
        if copied < size:
            shutil.copyfileobj(file, target, 1024 * 1024)
            target.flush()
        _check_length(source, file.tell(), size)


def _check_length(path: Path, length: int, expected: int) -> None:
    if length != expected:
        raise OSError(errno.EIO, f"{length:,} of {expected:,} bytes are there", str(path))


def _copy_in_kernel(source: IO[bytes], target: IO[bytes], *, size: int) -> int:
    """Copy by ``copy_file_range(2)``, as far as that goes.

    :returns: the number of bytes copied.
    """
    copied = 0
    while copied < size and hasattr(os, "copy_file_range"):
        try:
            count = os.copy_file_range(source.fileno(), target.fileno(), size - copied)
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
            break
        if not count:  # the file has ended, or the file system only says so (FUSE, /proc)
            break
        copied += count
    return copied
