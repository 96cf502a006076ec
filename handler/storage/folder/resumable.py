"""Resumable uploads to a folder.

::

    chunks/<path>/              an upload
    chunks/<path>/data          the bytes that have arrived; removed after the verdict
    chunks/<path>/<offset>.…    a placed piece, named as a part of a direct upload is
    chunks/<path>/state         the number of synced bytes, and the request that is appending (:class:`_State`)
    chunks/<path>/complete      the ending, an empty file: complete, cancelled or refused

A path is ``[<folder>.]<id>`` here, as for direct uploads. ``data`` and ``state`` lie next to
``declaration.json``, and an upload exists while its declaration is there.

Requests lock the upload while they write a chunk, and not while they wait for the next chunk. So a client whose line
hangs blocks nobody. A newer request takes the upload over: the older request can write no further chunk, and its bytes
stay (draft-ietf-httpbis-resumable-upload, section "Concurrency").

Every reported offset is on the disk. After a killed process, all bytes that arrived are there. After a power loss, the
bytes after the last reported offset do not count: a file system may bring back their number and not their content.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ...problems import AlreadyExists, StorageUnavailable, UploadNotFound
from ...units import MIB
from .. import StoredFile
from ..direct import UploadedPart, check_sha256
from ..resumable import Beginning, Ending, Extent, IncomingPieces, OffsetMismatch, Progress
from .durable import (
    dump_record,
    log_damaged,
    make_directory,
    read_record,
    rename_unless_taken,
    sync_directory,
    sync_file,
    temporary_directory,
    write_new,
)
from .errors import disk_errors
from .files import LocalStorage, entries, flat, nested
from .incoming import (
    DECLARATION,
    LocalIncoming,
    arrived_parts,
    mark_judged,
    part_name,
    remove_upload,
)
from .locks import locked

CHUNKS = "chunks"
DATA = "data"
STATE = "state"
STATE_BYTES = 256
"""The size of a state. It never changes, so a write of the state needs no room on the disk, and fits into a sector."""
SYNC_BYTES = 32 * MIB
"""A long request syncs its bytes each time that so many have arrived."""


def _running_system() -> str:
    """Return a name for the run of the system, from its start to its end. The system keeps unsynced bytes that long.

    Only Linux has such a name (``proc_sys_kernel(5)``, ``random/boot_id``). Elsewhere the name is of this process.
    """
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return secrets.token_hex(16)


SYSTEM = _running_system()


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """The state of an upload. It is read and written under the lock of the upload.

    :param synced: the number of bytes that are known to be on the disk.
    :param length: the length that was recorded after the beginning, in bytes.
    :param turn: a random name of the request that appends; empty if no request does. A request that finds another name
        has been taken over.
    :param system: the run of the system in which the bytes after the synced bytes count. Empty if they do not count:
        the request must verify them first.
    :param cuts: how often bytes were removed that did not count.
    """

    synced: int
    length: int | None
    turn: str
    system: str
    cuts: int

    def offset(self, size: int) -> int:
        """Return the number of bytes that count.

        :param size: of the data, in bytes.
        """
        return size if self.system == SYSTEM else min(size, self.synced)


NEW = _State(synced=0, length=None, turn="", system="", cuts=0)


@dataclass(kw_only=True, slots=True)
class _Turn:
    """A request that appends.

    :param name: see :class:`_State`.
    :param counts_at_once: each byte counts when it is written, and not only at the end of the request.
    :param cuts: see :class:`_State`, at the beginning of the turn.
    :param offset: the offset of the next byte.
    """

    name: str
    counts_at_once: bool
    cuts: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumedFile(LocalIncoming):
    """The bytes of a complete upload, in one file or in placed pieces. They never change."""

    @property
    def reads(self) -> int:
        return len(self.parts)

    def copy_to_files(self, file: StoredFile, /) -> StoredFile:
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        if self.declaration.sha256 is not None:
            check_sha256(file, digest.hexdigest(), sha256=self.declaration.sha256)
        return self._store(replace(file, sha256=digest.hexdigest()))

    def _path(self, part: UploadedPart) -> Path:
        return _path_of(self.directory, part)


class LocalResumableUploads:
    """Resumable uploads to a folder. The sweep of :class:`~handler.storage.folder.direct.LocalDirectUploads` removes
    old uploads.

    :param storage: the storage of the checked files, in the same folder.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._folder = storage.folder
        make_directory(self._folder / "judged")  # the same as that of direct uploads
        self._finish_interrupted_removals()

    def begin(self, path: str, beginning: Beginning, /) -> None:
        with disk_errors(), temporary_directory(self._folder / "tmp") as directory:
            write_new(directory / DECLARATION, beginning.to_json())
            write_new(directory / DATA, b"")
            write_new(directory / STATE, _dump_state(NEW))
            sync_directory(directory)
            make_directory(self._folder / CHUNKS)
            rename_unless_taken(directory, self._directory(path))
            sync_directory(self._folder / CHUNKS)
        if self.beginning(path) != beginning:
            raise AlreadyExists("There is another upload with this id. Begin a new upload.")

    def beginning(self, path: str, /) -> Beginning | None:
        with disk_errors():
            return _read_beginning(self._directory(path))

    def set_length(self, path: str, length: int, /) -> int:
        with self._locked(path) as (directory, state):
            if state.length is not None:
                return state.length
            _write_state(directory, replace(state, length=length), sync=True)
        return length

    def length(self, path: str, /) -> int | None:
        with suppress(UploadNotFound), self._locked(path) as (_, state):
            return state.length
        return None

    def progress(self, path: str, /) -> Progress | None:
        with suppress(UploadNotFound), self._locked(path) as (directory, state):
            return _take_over(directory, state)[0]
        return None

    def peek(self, path: str, /) -> Progress | None:
        with suppress(UploadNotFound), self._locked(path) as (directory, state):
            return Progress(offset=state.synced, ending=_ending(directory))
        return None

    def append(
        self, path: str, offset: int, content: Iterator[bytes], /, *, verify: Callable[[], None] | None = None
    ) -> int:
        turn = self._begin_turn(path, offset, counts_at_once=verify is None)
        try:
            for chunk in content:
                self._write(path, turn, chunk)
            if verify is not None:
                verify()
        except BaseException:
            with suppress(StorageUnavailable, UploadNotFound):
                self._interrupt(path, turn)
            raise
        return self._finish(path, turn)

    def place(
        self, path: str, offset: int, content: Iterator[bytes], /, *, beginning: Beginning | None = None
    ) -> list[Extent]:
        with ExitStack() as stack:
            with disk_errors():
                written = stack.enter_context(temporary_directory(self._folder / "tmp")) / DATA
            etag, size = _write_content(written, content)
            piece = UploadedPart(number=offset, etag=etag, size=size)
            if beginning is not None and self.beginning(path) is None:
                with suppress(AlreadyExists):  # another piece came first, and its facts stay
                    self.begin(path, beginning)
            with self._locked(path) as (directory, state):
                if ending := _ending(directory):
                    raise OffsetMismatch(Progress(offset=state.synced, ending=ending))
                with os.scandir(directory) as files:
                    names = {file.name.partition(".")[0]: file.name for file in files}
                if size and names.setdefault(str(offset), part_name(piece)) != part_name(piece):
                    raise AlreadyExists("Other bytes have arrived at this offset. Begin a new upload.")
                if size:
                    written.replace(directory / part_name(piece))  # the same bytes, or a damaged piece
                    sync_directory(directory)
        return _joined(names.values())

    def read(self, path: str, offset: int, length: int, /, *, max_reads: int | None = None) -> bytes:
        read = b""
        with suppress(UploadNotFound), self._locked(path) as (directory, state):
            parts = _arrived(directory, state)
            for part in parts if max_reads is None or len(parts) <= max_reads else ():
                start = offset + len(read) - part.number
                if 0 <= start < part.size:
                    with _path_of(directory, part).open("rb") as file:
                        file.seek(start)
                        read += file.read(min(length - len(read), part.size - start))
        return read

    def end(self, path: str, ending: Ending, /, *, offset: int | None = None) -> Ending:
        with self._locked(path) as (directory, state):
            progress, settled = _take_over(directory, state)
            if progress.ending is not None:
                return progress.ending
            size = _size(_parts(directory, settled))
            # An upload whose pieces are placed is refused or cancelled at its length, before all bytes have arrived.
            if offset is not None and (size > offset or (size < offset and ending is Ending.COMPLETE)):
                raise OffsetMismatch(replace(progress, offset=size))
            if size != settled.synced:  # placed pieces
                _write_state(directory, replace(settled, synced=size), sync=True)
            write_new(directory / ending.value, b"")
            sync_directory(directory)
        return ending

    def hand_over(self, _path: str, /) -> None:
        pass  # a folder has no events

    def open_incoming(self, path: str, _version: str | None = None, /) -> ResumedFile | None:
        with suppress(UploadNotFound), self._locked(path) as (directory, state):
            beginning = _read_beginning(directory)
            if beginning is None or _ending(directory) is not Ending.COMPLETE:
                return None
            parts = _parts(directory, state)
            if not parts:  # discarded after the verdict
                return None
            if _size(parts) != state.synced:
                log_damaged(directory)
                return None
            return ResumedFile(
                directory=directory,
                declaration=beginning.declaration,
                parts=parts,
                storage=self._storage,
                judged=self._judged(path),
            )
        return None

    def discard(self, path: str, _version: str | None = None, /) -> None:
        with suppress(UploadNotFound), self._locked(path) as (directory, _):
            self._discard(path, directory)

    def discard_incoming(self, path: str, _incoming: IncomingPieces, /) -> None:
        self.discard(path)

    def _discard(self, path: str, directory: Path) -> None:
        files = [directory / part_name(part) for part in arrived_parts(directory).whole]
        if (directory / DATA).exists():
            files.append(directory / DATA)
        if not files:
            return
        if _ending(directory) is Ending.COMPLETE:
            mark_judged(self._judged(path))  # an interrupted verdict may have left no mark
        for file in files:
            file.unlink(missing_ok=True)
        sync_directory(directory)

    def _begin_turn(self, path: str, offset: int, *, counts_at_once: bool) -> _Turn:
        """Take the upload over, for a request that appends.

        :param counts_at_once: each byte counts when it is written, and not only at the end of the request.
        :raises OffsetMismatch: the upload has another offset, or has ended.
        """
        with self._locked(path) as (directory, state):
            progress, settled = _take_over(directory, state)
            if progress.ending is not None or progress.offset != offset:
                raise OffsetMismatch(progress)
            turn = _Turn(name=secrets.token_hex(16), counts_at_once=counts_at_once, cuts=settled.cuts, offset=offset)
            _write_state(directory, replace(settled, turn=turn.name, system=SYSTEM if counts_at_once else ""))
        return turn

    def _write(self, path: str, turn: _Turn, chunk: bytes) -> None:
        """Write a chunk at the offset of a turn.

        :raises OffsetMismatch: a newer request has taken the upload over.
        """
        with self._locked(path) as (directory, state):
            if state.turn != turn.name:
                raise _taken_over(directory, state)
            with (directory / DATA).open("r+b", buffering=0) as data:
                data.seek(turn.offset)
                _write_all(data, chunk)
            turn.offset += len(chunk)
            if turn.counts_at_once and turn.offset - state.synced >= SYNC_BYTES:
                _settle(directory, state, turn=turn.name)

    def _interrupt(self, path: str, turn: _Turn) -> None:
        """End a turn whose request failed. Keep the bytes that count."""
        with self._locked(path) as (directory, state):
            if state.turn == turn.name:
                _settle(directory, state)

    def _finish(self, path: str, turn: _Turn) -> int:
        """End a turn whose request has sent all bytes.

        :returns: the new offset.
        :raises OffsetMismatch: a newer request has taken the upload over, and not all bytes of the turn were kept.
        """
        with self._locked(path) as (directory, state):
            if state.turn == turn.name:
                _settle(directory, replace(state, system=SYSTEM))
            elif not turn.counts_at_once or state.cuts != turn.cuts:
                raise _taken_over(directory, state)
        return turn.offset

    @contextmanager
    def _locked(self, path: str) -> Iterator[tuple[Path, _State]]:
        """Hold the lock of an upload.

        :raises UploadNotFound: the upload never began, or is too old, or its bytes were discarded meanwhile.
        """
        directory = self._directory(path)
        try:
            with disk_errors(except_missing=True), locked(directory):
                state = read_record(directory / STATE, _State)
                if state is None or not (directory / DECLARATION).exists():
                    raise UploadNotFound
                yield directory, state
        except FileNotFoundError:
            raise UploadNotFound from None

    def _directory(self, path: str) -> Path:
        return self._folder / CHUNKS / flat(path)

    def _judged(self, path: str) -> Path:
        return self._folder / "judged" / flat(path)

    def _finish_interrupted_removals(self) -> None:
        """Discard the bytes whose file a killed process had stored. Otherwise the file would come back after it is
        deleted. Remove uploads that a killed process was removing."""
        for directory in entries(self._folder / CHUNKS):
            path = nested(directory.name)
            if not (directory / DECLARATION).exists():
                remove_upload(directory)
            elif any(entry.is_file() for entry in entries(self._folder / "files" / path)):
                with suppress(OSError):  # a full disk has no room for the mark, and must not prevent a start
                    self._discard(path, directory)


def _take_over(directory: Path, state: _State) -> tuple[Progress, _State]:
    """End the turn of another request, if there is one. The caller holds the lock.

    :returns: the progress, which is on the disk, and the state.
    """
    ending = _ending(directory)
    if ending is None:
        state = _settle(directory, state)
    return Progress(offset=state.synced, ending=ending), state


def _taken_over(directory: Path, state: _State) -> OffsetMismatch:
    """Return the error of a request that a newer request took over. The newer request goes on."""
    return OffsetMismatch(Progress(offset=state.synced, ending=_ending(directory)))


def _settle(directory: Path, state: _State, *, turn: str = "") -> _State:
    """Sync the bytes that count, and remove the others. The caller holds the lock.

    :param turn: the turn that goes on. By default the turn ends.
    :raises OSError: the disk failed. The bytes after the synced bytes no longer count: another sync may succeed and
        not write them (``fsync(2)``).
    """
    settled = replace(state, turn=turn, system=SYSTEM if turn else "")
    with (directory / DATA).open("r+b", buffering=0) as data:
        size = data.seek(0, os.SEEK_END)
        offset = state.offset(size)
        if offset < state.synced:
            log_damaged(directory / DATA)
        if size > offset:
            settled = replace(settled, cuts=state.cuts + 1)
            _write_state(directory, settled)  # first: the turn must not go on after the cut
            data.truncate(offset)
        if size != state.synced:
            try:
                sync_file(data)
            except OSError:
                _write_state(directory, replace(settled, turn="", system=""))
                raise
            settled = replace(settled, synced=offset)
    if settled != state:
        _write_state(directory, settled, sync=offset != state.synced)
    return settled


def _arrived(directory: Path, state: _State) -> list[UploadedPart]:
    """Return the files that hold the bytes that count, in order. The number of a part is the offset of its first byte.
    Empty if the bytes were discarded."""
    placed = arrived_parts(directory).whole
    if not placed:
        with suppress(FileNotFoundError):
            return [UploadedPart(number=0, etag="", size=state.offset((directory / DATA).stat().st_size))]
    return placed


def _parts(directory: Path, state: _State) -> list[UploadedPart]:
    """Return the parts that follow each other from the first byte on, without a gap."""
    parts, end = [], 0
    for part in _arrived(directory, state):
        if part.number == end:
            parts.append(part)
            end += part.size
    return parts


def _path_of(directory: Path, part: UploadedPart) -> Path:
    return directory / (part_name(part) if part.etag else DATA)


def _size(parts: Iterable[UploadedPart]) -> int:
    return sum(part.size for part in parts)


def _joined(names: Iterable[str]) -> list[Extent]:
    """Return the extents of placed pieces, joined where they meet. Only their names are looked at: there can be many.

    :param names: of the files in a directory. Those of pieces are as :func:`part_name` makes them.
    """
    pieces = [(int(name.partition(".")[0]), int(name.rpartition(".")[2])) for name in names if name[0].isdecimal()]
    extents: list[Extent] = []
    start = end = 0
    for offset, size in sorted(pieces):
        if offset != end:
            extents.append(Extent(start, end - start))
            start = end = offset
        end += size
    return [extent for extent in (*extents, Extent(start, end - start)) if extent.size]


def _read_beginning(directory: Path) -> Beginning | None:
    """Return the facts of an upload; ``None`` if they are missing, or damaged, which is logged."""
    try:
        return Beginning.from_json((directory / DECLARATION).read_bytes())
    except FileNotFoundError:
        return None
    except (KeyError, RecursionError, TypeError, ValueError):
        log_damaged(directory / DECLARATION)
        return None


def _ending(directory: Path) -> Ending | None:
    return next((ending for ending in Ending if (directory / ending.value).exists()), None)


def _dump_state(state: _State) -> bytes:
    return dump_record(state).encode().ljust(STATE_BYTES)


def _write_state(directory: Path, state: _State, *, sync: bool = False) -> None:
    """Write a state in place. Without a sync, a power loss can bring the state before it back."""
    with (directory / STATE).open("r+b", buffering=0) as file:
        _write_all(file, _dump_state(state))
        if sync:
            sync_file(file)


def _write_content(path: Path, content: Iterator[bytes]) -> tuple[str, int]:
    """Write the content of a request to a new file, and sync its bytes. An error of ``content`` passes as it is.

    :returns: the ETag and the size, as :func:`~handler.storage.folder.incoming.write_chunks` returns them.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with disk_errors():
        file = path.open("xb", buffering=0)
    with file:
        for chunk in content:
            with disk_errors():
                _write_all(file, chunk)
            digest.update(chunk)
            size += len(chunk)
        with disk_errors():
            sync_file(file)
    return digest.hexdigest(), size


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write to an unbuffered file. One call may write only a part, such as on a full disk."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
