"""The directory of an upload: its declaration and its parts.

::

    declaration.json          the declaration
    <number>.<etag>.<size>    each part

A part whose size differs from the size in its name has not arrived. The disk is damaged, or an earlier version of this
program stored the part.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ...problems import AlreadyExists, FileTooLarge
from ...units import MIB
from .. import StoredFile
from ..direct import HASHED_BYTES, Declaration, Gone, UploadedPart, verify_sha256
from .durable import dump_record, read_record, sync_directory, sync_file, write_new
from .errors import disk_errors
from .files import LocalStorage, LocalWriter
from .locks import locked

CHUNK_BYTES = MIB
DECLARATION = "declaration.json"

_PART = re.compile(r"([0-9]{1,20})\.([0-9a-f]{32})(?:\.([0-9]{1,20}))?")
"""The name of a part. Earlier versions of this program wrote no size. A placed piece has its offset for a number."""
_CANNOT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
"""Errors of ``link(2)`` on file systems without hard links, or for a file with too many hard links."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalIncoming:
    """The parts of a completed upload, in order.

    :param directory: the directory of the parts.
    :param judged: the path of the file that marks a verdict.
    """

    directory: Path
    declaration: Declaration
    parts: list[UploadedPart]
    storage: LocalStorage
    judged: Path
    version: str = ""  # a presigned form is accepted once, so there is only one version

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def read(self, offset: int, length: int, /) -> bytes:
        ends = list(accumulate(part.size for part in self.parts))
        index = bisect_right(ends, offset)
        skipped = offset - (ends[index - 1] if index else 0)
        data = b""
        for part in self.parts[index:]:
            with disk_errors(), gone_if_missing(), self._path(part).open("rb") as file:
                file.seek(skipped)
                data += file.read(length - len(data))
            if len(data) >= length:
                break
            skipped = 0
        return data

    def chunks(self) -> Iterator[bytes]:
        for part in self.parts:
            with disk_errors(), gone_if_missing(), self._path(part).open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    if self.judged.exists():  # the rest is not needed
                        raise Gone
                    yield data

    def copy_to_files(self, file: StoredFile, /) -> StoredFile:
        if self.declaration.sha256 is not None or self.size <= HASHED_BYTES:
            file = verify_sha256(file, self.chunks(), sha256=self.declaration.sha256)
        return self._store(file)

    def _store(self, file: StoredFile) -> StoredFile:
        """Store the file, unless there is a verdict.

        :raises AlreadyExists: there is one.
        """
        # The lock comes before the copy. Of several concurrent completions, only the first copies the bytes.
        with disk_errors(), gone_if_missing(), locked(self.directory):
            if self.judged.exists():
                raise AlreadyExists(f"There is, or was, a file with the id {file.id} already.")
            self.storage.release(file.id, file.folder)
            writer = self._copy()
            try:
                writer.commit(file)
                mark_judged(self.judged)
            finally:
                writer.abort()
        return file

    def _copy(self) -> LocalWriter:
        """Return a writer that holds all bytes. Parts never change, so a single part only gets a second name."""
        if len(self.parts) == 1:
            try:
                return self.storage.open_writer(linked_to=self._path(self.parts[0]))
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
        writer = self.storage.open_writer()
        try:
            for part in self.parts:
                writer.append(self._path(part), size=part.size)
        except BaseException:
            writer.abort()
            raise
        return writer

    def _path(self, part: UploadedPart) -> Path:
        return self.directory / part_name(part)


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrivedParts:
    """The parts in a directory.

    :param whole: sorted by number.
    :param damaged: the numbers of parts whose size differs from the size in their names, or whose names have no size.
    """

    whole: list[UploadedPart]
    damaged: list[int]


def arrived_parts(directory: Path) -> ArrivedParts:
    """Return the parts in a directory. If two requests left two parts with the same number, the later part counts.

    :raises FileNotFoundError: there is no such directory.
    """
    whole: dict[int, UploadedPart] = {}
    entries = []
    for path in directory.iterdir():
        if match := _PART.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another part has just replaced this part
                entries.append((path.stat(), match))
    for stat, match in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
        if match[3] is not None and int(match[3]) == stat.st_size:
            whole[int(match[1])] = UploadedPart(number=int(match[1]), etag=match[2], size=stat.st_size)
    damaged = {int(match[1]) for _, match in entries} - whole.keys()
    return ArrivedParts(whole=[whole[number] for number in sorted(whole)], damaged=sorted(damaged))


def part_name(part: UploadedPart) -> str:
    """Return the file name of a part."""
    return f"{part.number}.{part.etag}.{part.size}"


def write_chunks(path: Path, chunks: Iterable[bytes], *, maximum: int) -> tuple[str, int]:
    """Write a new file, and sync its bytes.

    :param maximum: the largest size of the file, in bytes.
    :returns: the ETag, which is an MD5 as S3's ETag is, and the size in bytes.
    :raises FileTooLarge: the chunks hold more.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > maximum:
                raise FileTooLarge(f"This URL accepts at most {maximum:,} bytes.", max_bytes=maximum)
            digest.update(chunk)
            file.write(chunk)
        sync_file(file)
    return digest.hexdigest(), size


def write_declaration(directory: Path, declaration: Declaration) -> None:
    """Write the declaration of an upload, and sync its bytes."""
    write_new(directory / DECLARATION, dump_record(declaration).encode())


def read_declaration(directory: Path) -> Declaration | None:
    """Return the declaration of an upload; ``None`` if it is missing, or damaged, which is logged."""
    return read_record(directory / DECLARATION, Declaration)


def remove_upload(upload: Path) -> None:
    """Remove the directory of an upload, so that no power loss brings it back. Nothing is created or renamed, so this
    works on a full disk."""
    try:
        (upload / DECLARATION).unlink(missing_ok=True)
        sync_directory(upload)
    except FileNotFoundError:
        return
    shutil.rmtree(upload, ignore_errors=True)  # a part may arrive now; the next sweep removes it


def mark_judged(judged: Path) -> None:
    """Record durably that there is a verdict.

    :param judged: the path of the file that marks the verdict.
    """
    if not judged.exists():
        judged.touch()
    sync_directory(judged.parent)


@contextmanager
def gone_if_missing() -> Iterator[None]:
    """Raise :class:`~handler.storage.direct.Gone` for a missing file or directory."""
    try:
        yield
    except FileNotFoundError:
        raise Gone from None
