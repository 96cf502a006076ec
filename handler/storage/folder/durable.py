"""Files that survive a power loss, and records that are checked when they are read.

The system may keep a written file, and a change of a directory's entries, in memory for a minute. Only ``fsync`` writes
each to the disk (POSIX.1-2024, ``fsync()``; Linux ``fsync(2)``: syncing a file does not sync its directory's entry). So
no request gets its response before the bytes *and* the directories on their path are synced.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import IO, TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ...logs import logger
from ...units import MIB

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath

Record = TypeVar("Record")

_BINARY = getattr(os, "O_BINARY", 0)
"""The flag with which Windows leaves the ends of lines as they are. Other systems have none."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=datetime.isoformat)
_CANNOT_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}
"""Errors of ``copy_file_range(2)`` on a kernel, file system or container that does not support the call."""


def sync_directory(directory: StrPath) -> None:
    """Make the entries of a directory durable: the files created, renamed or removed in it.

    :raises OSError: the disk failed. A file system that cannot sync directories (EINVAL, EBADF) causes no error,
        because there is no other way to sync. Windows cannot open a directory, so nothing is synced there.
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
    """Make a directory and its missing parents, durably.

    :raises OSError: a directory cannot be made.
    """
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)  # another server may be starting on this folder
        with suppress(PermissionError):  # a parent may be writable and not readable
            sync_directory(made.parent)


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    """Make a directory. The body of the ``with`` statement may rename it. The rest of it is removed in the end."""
    directory = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def rename_unless_taken(directory: Path, target: Path) -> None:
    """Rename a directory that is not empty, unless the target exists and is not empty."""
    try:
        directory.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # POSIX, rename(): either
            raise


def write_new(path: StrPath, data: ReadableBuffer, *, mode: int = 0o666) -> None:
    """Write a new file, and sync its bytes, but not its directory.

    :param mode: the permissions of the file, before the umask.
    :raises OSError: the file exists, or cannot be written.
    """
    descriptor = create(path, mode=mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: StrPath, *, mode: int = 0o666) -> int:
    """Create a file, and return its descriptor, for writing.

    Python's file objects would take six more calls of the system.

    :param mode: the permissions of the file, before the umask.
    :raises OSError: the file exists, or cannot be created.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)


def write_all(descriptor: int, data: ReadableBuffer) -> None:
    """Write all of the data to an open file.

    :raises OSError: the data cannot be written.
    """
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(descriptor, view[written:])


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

    :param record: a dataclass of JSON's types and times. A time is text in ISO 8601.
    :raises OSError: the file cannot be read.
    """
    values = read_object(path)
    if values is None:
        return None
    classes = _member_classes(cast("Any", record))
    try:
        value = record(**{name: _decoded(member, classes.get(name, ())) for name, member in values.items()})
        if all(isinstance(getattr(value, name), classes[name]) for name in classes):
            return value
    except (TypeError, ValueError):  # the members have other names, or a time is not one
        pass
    log_damaged(path)
    return None


def dump_record(record: Any) -> str:
    """Return a dataclass as the JSON object that :func:`read_record` reads.

    :param record: as there. No member is a dataclass itself.
    """
    # dataclasses.asdict copies every member, which takes longer than the encoding.
    members = {field.name: getattr(record, field.name) for field in fields(record)}
    return _ENCODER.encode(members)


@cache  # the hints are text, and evaluating them takes longer than reading the file
def _member_classes(record: type[Any]) -> dict[str, tuple[type, ...]]:
    return {name: _classes(hint) for name, hint in get_type_hints(record).items()}


def _classes(hint: Any) -> tuple[type, ...]:
    """Return the classes in a type hint, as ``isinstance`` takes them: ``Mapping`` for ``Mapping[str, Any]``."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(get_origin(member) or member for member in members)


def _decoded(member: Any, classes: tuple[type, ...]) -> Any:
    return datetime.fromisoformat(member) if datetime in classes and isinstance(member, str) else member


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
    """Log a damaged file or directory, so that an operator checks the disk.

    :param more: further members of the log line.
    """
    logger.error("damaged file", extra={"file": f"{path.parent.name}/{path.name}", **more})


def copy_file(source: Path, target: IO[bytes], *, size: int) -> None:
    """Append a whole file to an open file. If possible, the kernel copies: then the bytes do not pass through this
    process, and a file system that can share blocks copies nothing.

    :param target: an open file, flushed, and at its end.
    :param size: of the source, in bytes.
    :raises OSError: the source is missing or has another size, or the disk failed.
    """
    with source.open("rb", buffering=0) as file:
        _check_length(source, os.fstat(file.fileno()).st_size, size)
        copied = _copy_in_kernel(file, target, size=size)
        target.seek(0, os.SEEK_END)  # Python does not know that the kernel moved the position
        if copied < size:
            shutil.copyfileobj(file, target, MIB)
            target.flush()
        _check_length(source, file.tell(), size)


def _check_length(path: Path, length: int, expected: int) -> None:
    if length != expected:
        raise OSError(errno.EIO, f"{length:,} of {expected:,} bytes are there", str(path))


def _copy_in_kernel(source: IO[bytes], target: IO[bytes], *, size: int) -> int:
    """Copy as many bytes as possible with ``copy_file_range(2)``.

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
        if not count:  # the end of the file, or a file system that only reports one (FUSE, /proc)
            break
        copied += count
    return copied
