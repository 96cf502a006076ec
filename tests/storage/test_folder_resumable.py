"""Resumable uploads in a folder: streaming, takeovers, crashes, power loss, full and damaged disks, the sweep.

``test_resumable.py`` has the contract that both storages share.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import AlreadyExists, DigestMismatch, StorageUnavailable, UploadNotFound
from handler.storage.direct import Deleted, Gone, Stored
from handler.storage.folder import resumable
from handler.storage.folder.direct import INCOMING_STALE_SECONDS, LocalDirectUploads
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.resumable import SYNC_BYTES, LocalResumableUploads
from handler.storage.resumable import Ending, Extent, OffsetMismatch, Progress

from ..support.power_loss import Disk, Remains
from ..support.resumable_uploads import beginning, begun, opened
from ..support.stored_files import content_of, file

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..support.power_loss import Loss

WAIT_SECONDS = 30
"""The longest time that a test waits for another thread or process. It is never reached."""


class LineBrokeError(Exception):
    """The connection of a client ended in the middle."""


class Line:
    """A client that sends when a test says so, and whose line can hang."""

    def __init__(self, uploads: LocalResumableUploads, path: str, offset: int, **options: Any) -> None:
        self._chunks: list[bytes | None] = []
        self._changed = threading.Condition()
        self._waits = False
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(uploads.append, path, offset, self._content(), **options)

    def _content(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._waits = True
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: self._chunks, WAIT_SECONDS)
                self._waits = False
                chunk = self._chunks.pop(0)
            if chunk is None:
                return
            yield chunk

    def send(self, *chunks: bytes | None) -> None:
        """Send chunks, ``None`` at the end, and wait until the storage has written them or the request has ended."""
        with self._changed:
            self._chunks.extend(chunks)
            self._changed.notify_all()
            while not (self._waits and not self._chunks) and not self._future.done():
                self._changed.wait(0.01)

    def result(self) -> int:
        with self._pool:
            return self._future.result(WAIT_SECONDS)


def broken(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise LineBrokeError


def refuse() -> None:
    raise DigestMismatch("The digest differs.")


@pytest.fixture
def uploads(tmp_path: Path) -> LocalResumableUploads:
    return opened(tmp_path)


def directory_of(folder: Path, path: str) -> Path:
    return folder / "chunks" / path.replace("/", ".")


def uploads_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "chunks").iterdir()}


def content(uploads: LocalResumableUploads, path: str) -> bytes:
    return uploads.read(path, 0, 10**9)


# Streaming.


def test_bytes_are_written_while_the_request_lasts(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    data = directory_of(tmp_path, path) / "data"
    sizes = []

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield b"0123"
            sizes.append(data.stat().st_size)

    assert uploads.append(path, 0, chunks()) == 12
    assert sizes == [4, 8, 12]


def test_bytes_before_a_broken_connection_stay(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    with pytest.raises(LineBrokeError):
        uploads.append(path, 0, broken(b"first, ", b"second, "))
    assert uploads.progress(path) == Progress(offset=15)
    assert uploads.append(path, 15, iter([b"third"])) == 20
    assert content(uploads, path) == b"first, second, third"


def test_unverified_bytes_never_stay(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"first, "]))
    with pytest.raises(DigestMismatch):
        uploads.append(path, 7, iter([b"bad", b"bytes"]), verify=refuse)
    with pytest.raises(LineBrokeError):
        uploads.append(path, 7, broken(b"half"), verify=lambda: None)
    assert uploads.progress(path) == Progress(offset=7)
    assert uploads.append(path, 7, iter([b"second"]), verify=lambda: None) == 13
    assert content(uploads, path) == b"first, second"


def test_unverified_bytes_cannot_be_read(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    seen = []

    def chunks() -> Iterator[bytes]:
        yield b"some bytes"
        seen.append(content(uploads, path))

    uploads.append(path, 0, chunks(), verify=lambda: seen.append(content(uploads, path)))
    assert seen == [b"", b""]
    assert content(uploads, path) == b"some bytes"


def test_bytes_of_a_long_request_are_synced_on_the_way(
    uploads: LocalResumableUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begun(uploads)
    monkeypatch.setattr(resumable, "SYNC_BYTES", 10)
    line = Line(uploads, path, 0)
    line.send(b"123456", b"123456", b"1234")
    monkeypatch.setattr(resumable, "SYSTEM", "after a power loss")
    assert uploads.progress(path) == Progress(offset=12)
    line.send(None)
    with pytest.raises(OffsetMismatch):  # its last bytes were removed
        line.result()
    assert SYNC_BYTES > 1024**2


# Takeovers.


def test_progress_takes_over_a_hanging_request(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"first, ")
    assert uploads.progress(path) == Progress(offset=7)
    line.send(b"too late")
    with pytest.raises(OffsetMismatch) as caught:
        line.result()
    assert caught.value.progress == Progress(offset=7)
    assert uploads.append(path, 7, iter([b"second"])) == 13
    assert content(uploads, path) == b"first, second"


def test_peek_lets_a_request_go_on(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"first, "]))
    line = Line(uploads, path, 7)
    line.send(b"second, ")
    assert uploads.peek(path) == Progress(offset=7), "the synced bytes"
    line.send(b"third", None)
    line.result()
    assert uploads.peek(path) == Progress(offset=20)
    assert content(uploads, path) == b"first, second, third"


def test_append_takes_over_a_hanging_request(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    older = Line(uploads, path, 0)
    older.send(b"first, ")
    newer = Line(uploads, path, 7)
    newer.send(b"second, ")
    older.send(b"too late")
    with pytest.raises(OffsetMismatch):
        older.result()
    newer.send(b"third", None)
    assert newer.result() == 20
    assert content(uploads, path) == b"first, second, third"


def test_request_that_was_taken_over_after_its_last_byte_succeeds(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"first, ")
    uploads.append(path, 7, iter([b"second"]))
    line.send(None)
    assert line.result() == 7
    assert content(uploads, path) == b"first, second"


def test_takeover_drops_unverified_bytes(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0, verify=lambda: None)
    line.send(b"unverified")
    assert uploads.append(path, 0, iter([b"some bytes of another request"])) == 29
    line.send(None)
    with pytest.raises(OffsetMismatch):
        line.result()
    assert content(uploads, path) == b"some bytes of another request"


@pytest.mark.parametrize("ending", Ending)
def test_ending_takes_over_a_hanging_request(uploads: LocalResumableUploads, ending: Ending) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"some bytes")
    assert uploads.end(path, ending) is ending
    line.send(b"too late")
    with pytest.raises(OffsetMismatch) as caught:
        line.result()
    assert caught.value.progress == Progress(offset=10, ending=ending)
    assert content(uploads, path) == b"some bytes"


def test_request_at_another_offset_takes_over_and_is_rejected(uploads: LocalResumableUploads) -> None:
    """The offset in the rejection must be valid for the next request."""
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"some bytes")
    with pytest.raises(OffsetMismatch) as caught:
        uploads.append(path, 3, iter([b"stale"]))
    assert caught.value.progress == Progress(offset=10)
    line.send(b"too late")
    with pytest.raises(OffsetMismatch):
        line.result()
    assert uploads.append(path, 10, iter([b", more"])) == 16


def test_hanging_request_of_a_removed_upload_ends(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"some bytes")
    shutil.rmtree(directory_of(tmp_path, path))
    line.send(b"more")
    with pytest.raises(UploadNotFound):
        line.result()
    assert uploads.progress(path) is None


def test_length_is_recorded_while_a_request_appends(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    line = Line(uploads, path, 0)
    line.send(b"some ")
    assert (uploads.set_length(path, 10), uploads.set_length(path, 11)) == (10, 10)
    line.send(b"bytes", None)
    assert line.result() == 10
    assert uploads.length(path) == 10


# Races.


def test_one_of_fifty_requests_at_one_offset_wins(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    start = threading.Barrier(50)

    def append(number: int) -> int | None:
        start.wait(WAIT_SECONDS)
        with suppress(OffsetMismatch):
            uploads.append(path, 0, iter([bytes([number]) * 1000]))
            return number
        return None

    with ThreadPoolExecutor(50) as pool:
        winners = [number for number in pool.map(append, range(50)) if number is not None]
    assert len(winners) == 1
    assert content(uploads, path) == bytes(winners) * 1000


def test_fifty_clients_of_one_upload_make_one_history(uploads: LocalResumableUploads) -> None:
    expected = os.urandom(50_000)
    path = begun(uploads)
    start = threading.Barrier(50)

    def send(number: int) -> None:
        start.wait(WAIT_SECONDS)
        seen = 0
        while seen < len(expected):
            progress = uploads.progress(path)
            assert progress
            assert progress.offset >= seen, "the offset decreased"
            seen = progress.offset
            chunks = [expected[at : at + 500] for at in range(seen, min(seen + 1500, len(expected)), 500)]
            with suppress(OffsetMismatch, LineBrokeError, DigestMismatch):
                if number % 3 == 0:
                    seen = uploads.append(path, seen, broken(*chunks))
                elif number % 3 == 1:
                    seen = uploads.append(path, seen, iter(chunks), verify=lambda: None)
                else:
                    seen = uploads.append(path, seen, iter([expected[seen : seen + 1000]]))

    with ThreadPoolExecutor(50) as pool:
        for future in [pool.submit(send, number) for number in range(50)]:
            future.result()
    assert content(uploads, path) == expected


def test_one_of_fifty_endings_wins(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    start = threading.Barrier(50)

    def end(number: int) -> Ending:
        start.wait(WAIT_SECONDS)
        return uploads.end(path, list(Ending)[number % len(Ending)])

    with ThreadPoolExecutor(50) as pool:
        (ending,) = set(pool.map(end, range(50)))
    assert uploads.progress(path) == Progress(offset=10, ending=ending)


def test_each_of_ten_thousand_appends_takes_the_same_work(
    uploads: LocalResumableUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it only takes time
    path = begun(uploads)

    def calls(first: int) -> int:
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            for offset in range(first, first + 20):
                uploads.append(path, offset, iter([b"x"]))
        finally:
            sys.setprofile(None)
        return counted

    for offset in range(100):
        uploads.append(path, offset, iter([b"x"]))
    early, sizes = calls(100), file_sizes(directory_of(tmp_path, path))
    for offset in range(120, 10_000):
        uploads.append(path, offset, iter([b"x"]))
    assert calls(10_000) <= early + 20
    assert file_sizes(directory_of(tmp_path, path)) == {**sizes, "data": 10_020}
    assert content(uploads, path) == b"x" * 10_020


def file_sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


# Processes.

APPEND = """
import sys
from pathlib import Path
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.resumable import LocalResumableUploads

def chunks():
    while chunk := sys.stdin.buffer.readline():
        yield chunk
        print("taken", flush=True)

LocalResumableUploads(LocalStorage(Path(sys.argv[1]))).append(sys.argv[2], 0, chunks())
"""
"""A process that appends each line of its input, and prints when the storage wants the next one."""


class OtherProcess:
    def __init__(self, folder: Path, path: str) -> None:
        command = [sys.executable, "-c", APPEND, str(folder), path]
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, line: bytes) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line)
        self._process.stdin.flush()
        self._process.stdout.readline()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> str:
        """Close the input, and return the errors."""
        return self._process.communicate(timeout=WAIT_SECONDS)[1].decode()


def test_request_takes_over_a_request_of_another_process(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    other = OtherProcess(tmp_path, path)
    other.send(b"first\n")
    assert uploads.progress(path) == Progress(offset=6)
    assert uploads.append(path, 6, iter([b"second"])) == 12
    other.send(b"too late\n")
    assert "OffsetMismatch" in other.end()
    assert content(uploads, path) == b"first\nsecond"


def test_bytes_of_a_killed_process_stay(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    other = OtherProcess(tmp_path, path)
    other.send(b"first\n")
    other.send(b"second\n")
    other.kill()
    assert opened(tmp_path).progress(path) == Progress(offset=13)
    assert uploads.append(path, 13, iter([b"third"])) == 18
    assert content(uploads, path) == b"first\nsecond\nthird"


def test_system_without_a_name_for_its_run_takes_over_at_the_synced_bytes(
    uploads: LocalResumableUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Linux has such a name. Elsewhere a process cannot know if the system kept the bytes of another process."""
    path = begun(uploads)
    other = OtherProcess(tmp_path, path)
    other.send(b"first\n")
    monkeypatch.setattr(resumable, "SYSTEM", "this process")
    assert uploads.progress(path) == Progress(offset=0)
    assert uploads.append(path, 0, iter([b"some bytes"])) == 10
    assert "OffsetMismatch" in other.end(), "not all of its bytes are there"
    assert content(uploads, path) == b"some bytes"


# Power loss and failing disks.


@pytest.mark.parametrize("takes", ["names and bytes", "bytes"])
def test_power_loss_undoes_no_reported_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: Loss) -> None:
    expected = b"first, second, third"
    told: dict[str, Progress] = {}
    moments: list[tuple[Remains, dict[str, Progress]]] = []
    disk = None
    root = tmp_path / "disk"
    root.mkdir()

    def lose_power() -> None:
        if disk is not None:
            moments.append((disk.after_power_loss(takes=takes), dict(told)))

    with monkeypatch.context() as patch:
        disk = Disk(patch, root, on_sync=lose_power)
        uploads = opened(root / "folder")
        for ending in (None, *Ending):
            path = begun(uploads)
            told[path] = Progress(offset=0)
            told[path] = Progress(offset=uploads.append(path, 0, iter([b"fir", b"st, "])))
            with suppress(LineBrokeError):
                uploads.append(path, 7, broken(b"sec"))
            told[path] = uploads.progress(path) or told[path]
            with suppress(DigestMismatch):
                uploads.append(path, 10, iter([b"bad"]), verify=refuse)
            uploads.append(path, 10, iter([b"ond, ", b"third"]))
            told[path] = Progress(offset=20)
            if ending:
                told[path] = Progress(offset=20, ending=uploads.end(path, ending))
        lose_power()
    disk.close()
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(resumable, "SYSTEM", "the next run of the system")
    for remains, then in moments:
        remains.write(tmp_path / "remains")
        after = opened(tmp_path / "remains" / "folder")
        for path, progress in then.items():
            now = after.progress(path)
            assert now
            assert now.offset >= progress.offset
            assert now.ending == progress.ending or progress.ending is None
            assert content(after, path) == expected[: now.offset]
            if now.ending is None:
                assert after.append(path, now.offset, iter([expected[now.offset :]])) == 20
            assert content(after, path) == expected
        shutil.rmtree(tmp_path / "remains")
    assert len(moments) > 50


@pytest.mark.parametrize("tail", [bytes(100), b"of another file"])
def test_bytes_that_came_back_without_their_content_do_not_count(
    uploads: LocalResumableUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: bytes
) -> None:
    """A file system may make the new size of a file durable before its bytes (ext4, ``data=writeback``)."""
    path = begun(uploads)
    uploads.append(path, 0, iter([b"first, "]))
    Line(uploads, path, 7).send(b"second", None)
    state = (directory_of(tmp_path, path) / "state").read_bytes()
    line = Line(uploads, path, 13)
    line.send(tail)
    monkeypatch.setattr(resumable, "SYSTEM", "the next run of the system")
    assert state != (directory_of(tmp_path, path) / "state").read_bytes()
    after = opened(tmp_path)
    assert after.read(path, 0, 100) == b"first, second"
    assert after.progress(path) == Progress(offset=13)
    assert after.append(path, 13, iter([b", third"])) == 20
    assert content(after, path) == b"first, second, third"
    line.send(None)
    with suppress(OffsetMismatch):
        line.result()


def test_bytes_after_a_failed_sync_do_not_count(
    uploads: LocalResumableUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system forgets that these bytes are not on the disk. The next sync succeeds (``fsync(2)``)."""
    path = begun(uploads)
    uploads.append(path, 0, iter([b"first, "]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "disk failed")))
        with pytest.raises(StorageUnavailable):
            uploads.append(path, 7, iter([b"lost"]))
    assert uploads.progress(path) == Progress(offset=7)
    assert uploads.append(path, 7, iter([b"second"])) == 13
    assert content(uploads, path) == b"first, second"


def test_bytes_that_fit_on_a_full_disk_stay(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20 + 5, limits[1]))  # a write beyond it ends short, then fails
    try:
        with pytest.raises(StorageUnavailable):
            uploads.append(path, 0, iter([bytes(2**20), b"0123456789"]))
        assert uploads.progress(path) == Progress(offset=2**20 + 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert uploads.append(path, 2**20 + 5, iter([b"56789"])) == 2**20 + 10
    assert uploads.read(path, 2**20, 100) == b"0123456789"


def test_folder_that_cannot_be_written_is_an_error_of_the_owner(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    shutil.rmtree(tmp_path / "chunks")
    (tmp_path / "chunks").touch()
    requests: list[Callable[[], object]] = [
        lambda: uploads.progress(path),
        lambda: uploads.append(path, 0, iter([b"x"])),
        lambda: uploads.end(path, Ending.COMPLETE),
        lambda: uploads.place(path, 0, iter([b"x"])),
        lambda: uploads.beginning(path),
    ]
    for request in requests:
        with pytest.raises(StorageUnavailable) as caught:
            request()
        assert "Retry-After" not in caught.value.headers


def damaged_files(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {vars(record)["file"] for record in caplog.records if record.getMessage() == "damaged file"}


@pytest.mark.parametrize("name", ["state", "declaration.json"])
@pytest.mark.parametrize("damage", [b"", bytes(256), b"[]", b"{}", b'{"synced": "x"}', b"[" * 100_000, b"\xff"])
def test_upload_with_a_damaged_record_is_missing_and_logged(
    uploads: LocalResumableUploads, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: bytes
) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    (directory_of(tmp_path, path) / name).write_bytes(damage)
    assert uploads.progress(path) is None or uploads.beginning(path) is None
    assert damaged_files(caplog) == {f"{path}/{name}"}


def test_upload_that_lost_bytes_is_logged_and_continues(
    uploads: LocalResumableUploads, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    os.truncate(directory_of(tmp_path, path) / "data", 4)
    assert uploads.progress(path) == Progress(offset=4)
    assert damaged_files(caplog) == {f"{path}/data"}
    assert uploads.append(path, 4, iter([b" bytes"])) == 10


def test_complete_upload_that_lost_bytes_is_not_promoted(
    uploads: LocalResumableUploads, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    uploads.end(path, Ending.COMPLETE)
    os.truncate(directory_of(tmp_path, path) / "data", 4)
    assert uploads.open_incoming(path) is None
    assert damaged_files(caplog) == {f"chunks/{path}"}


# Placed pieces.


def test_placed_pieces_become_one_file(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    LocalDirectUploads(storage)
    uploads = LocalResumableUploads(storage)
    path = begun(uploads)
    assert uploads.place(path, 7, iter([b"second", b", "])) == [Extent(7, 8)]
    assert uploads.place(path, 15, iter([b"third"])) == [Extent(7, 13)]
    assert uploads.place(path, 0, iter([b"first, "])) == [Extent(0, 20)]
    assert uploads.place(path, 7, iter([b"second, "])) == [Extent(0, 20)]
    with pytest.raises(AlreadyExists):
        uploads.place(path, 7, iter([b"SECOND, "]))
    assert uploads.read(path, 3, 10) == b"st, second"
    with pytest.raises(OffsetMismatch):
        uploads.end(path, Ending.COMPLETE, offset=21)
    assert uploads.end(path, Ending.COMPLETE, offset=20) is Ending.COMPLETE
    assert uploads.progress(path) == Progress(offset=20, ending=Ending.COMPLETE)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    assert (
        content_of(storage, incoming.copy_to_files(file(b"first, second, third", id=path))) == b"first, second, third"
    )
    uploads.discard(path)
    assert sorted(file_sizes(directory_of(tmp_path, path))) == ["complete", "declaration.json", "state"]


def test_overlapping_pieces_never_make_a_whole_file(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    uploads.place(path, 0, iter([b"0123456789"]))
    uploads.place(path, 5, iter([b"0123456789"]))
    assert uploads.place(path, 10, iter([b"0123456789"])) == [Extent(0, 10), Extent(5, 10), Extent(10, 10)]


def test_damaged_piece_can_be_sent_again(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = begun(uploads)
    uploads.place(path, 0, iter([b"some bytes"]))
    (piece,) = directory_of(tmp_path, path).glob("0.*")
    piece.write_bytes(b"some")
    with pytest.raises(OffsetMismatch):
        uploads.end(path, Ending.COMPLETE, offset=10)
    uploads.place(path, 0, iter([b"some bytes"]))
    assert uploads.end(path, Ending.COMPLETE, offset=10) is Ending.COMPLETE


def test_placed_piece_whose_content_breaks_is_not_kept(uploads: LocalResumableUploads) -> None:
    path = begun(uploads)
    with pytest.raises(LineBrokeError):
        uploads.place(path, 0, broken(b"half"))
    assert uploads.place(path, 0, iter([])) == []
    assert uploads.place(path, 0, iter([b"whole"])) == [Extent(0, 5)]
    assert uploads.place(path, 0, iter([])) == [Extent(0, 5)]


# The verdict.


@pytest.fixture
def direct(uploads: LocalResumableUploads) -> LocalDirectUploads:
    """Direct uploads to the same folder. They know the verdicts."""
    return LocalDirectUploads(uploads._storage)


def completed(uploads: LocalResumableUploads, data: bytes = b"some bytes", **declared: Any) -> str:
    path = begun(uploads, **declared)
    uploads.append(path, 0, iter([data]))
    uploads.end(path, Ending.COMPLETE, offset=len(data))
    return path


def test_file_is_a_second_name_of_the_bytes(
    uploads: LocalResumableUploads, direct: LocalDirectUploads, tmp_path: Path
) -> None:
    path = completed(uploads)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    stored = incoming.copy_to_files(file(id=path, sha256=None))
    assert stored.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    location = tmp_path / "files" / path / "a.txt"
    assert location.samefile(directory_of(tmp_path, path) / "data")
    assert direct.find_verdict(path) == Stored(stored)
    uploads.discard(path)
    assert location.read_bytes() == b"some bytes"
    assert uploads.open_incoming(path) is None
    assert uploads.read(path, 0, 10) == b""
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)


@pytest.mark.parametrize("sha256", ["0" * 64, hashlib.sha256(b"some bytes").hexdigest()])
def test_declared_digest_is_verified_before_the_file_appears(
    uploads: LocalResumableUploads, direct: LocalDirectUploads, tmp_path: Path, sha256: str
) -> None:
    path = completed(uploads, sha256=sha256)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    if sha256.strip("0"):
        assert incoming.copy_to_files(file(id=path)).sha256 == sha256
        return
    with pytest.raises(DigestMismatch):
        incoming.copy_to_files(file(id=path))
    assert list((tmp_path / "files").iterdir()) == []
    assert direct.find_verdict(path) is None


def test_one_of_many_promotions_stores_the_file(uploads: LocalResumableUploads, direct: LocalDirectUploads) -> None:
    path = completed(uploads)
    start = threading.Barrier(20)

    def promote(_: int) -> bool:
        incoming = uploads.open_incoming(path)
        start.wait(WAIT_SECONDS)
        assert incoming is not None
        with suppress(AlreadyExists, Gone):
            incoming.copy_to_files(file(id=path))
            uploads.discard(path)
            return True
        return False

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(promote, range(20))) == 1
    assert isinstance(direct.find_verdict(path), Stored)


def test_deleted_file_does_not_come_back_after_an_interrupted_verdict(
    uploads: LocalResumableUploads, direct: LocalDirectUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = completed(uploads)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    with monkeypatch.context() as patch:
        patch.setattr("handler.storage.folder.incoming.mark_judged", lambda _: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            incoming.copy_to_files(file(id=path))
    assert not (tmp_path / "judged" / path).exists()
    after = opened(tmp_path)
    assert after._storage.delete(path, "a.txt")
    assert after.open_incoming(path) is None
    assert direct.find_verdict(path) == Deleted()


def test_upload_that_is_removed_only_in_part_is_removed_at_the_start(
    uploads: LocalResumableUploads, tmp_path: Path
) -> None:
    path, other = begun(uploads), begun(uploads)
    (directory_of(tmp_path, path) / "declaration.json").unlink()
    assert uploads.progress(path) is None
    opened(tmp_path)
    assert uploads_in(tmp_path) == {other}


def test_cancelled_upload_leaves_no_verdict(uploads: LocalResumableUploads, direct: LocalDirectUploads) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    uploads.end(path, Ending.CANCELLED)
    uploads.discard(path)
    assert direct.find_verdict(path) is None
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.CANCELLED)


# The folder.


def test_folder_of_a_user_has_its_own_uploads(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    path = f"user-1/{begun(uploads)}"
    uploads.begin(path, beginning(size=3))
    uploads.append(path, 0, iter([b"abc"]))
    assert uploads.beginning(path) == beginning(size=3)
    assert uploads.progress(path.removeprefix("user-1/")) == Progress(offset=0)
    assert directory_of(tmp_path, path).is_dir()


def test_folder_without_resumable_uploads_has_no_place_for_them(uploads: LocalResumableUploads, tmp_path: Path) -> None:
    assert uploads.progress("0" * 32) is None
    assert not (tmp_path / "chunks").exists()


def test_sweep_removes_old_uploads(uploads: LocalResumableUploads, direct: LocalDirectUploads, tmp_path: Path) -> None:
    unfinished, judged, written, young = begun(uploads), completed(uploads), begun(uploads), begun(uploads)
    uploads.discard(judged)
    line = Line(uploads, written, 0)
    line.send(b"first, ")
    for path in (unfinished, judged, written):
        make_old(directory_of(tmp_path, path))
    line.send(b"second")
    direct.sweep()
    assert uploads_in(tmp_path) == {written, young}
    line.send(None)
    assert line.result() == 13
    assert uploads.progress(unfinished) is None
    with pytest.raises(UploadNotFound):
        uploads.append(unfinished, 0, iter([b"x"]))


def test_ending_stays_for_a_day_after_the_verdict(
    uploads: LocalResumableUploads, direct: LocalDirectUploads, tmp_path: Path
) -> None:
    path = begun(uploads)
    uploads.append(path, 0, iter([b"some bytes"]))
    make_old(directory_of(tmp_path, path))
    uploads.end(path, Ending.COMPLETE)
    uploads.discard(path)
    direct.sweep()
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)


def make_old(directory: Path) -> None:
    then = time.time() - INCOMING_STALE_SECONDS - 1
    for path in (directory, *directory.iterdir()):
        os.utime(path, (then, then))
