"""The folder storage: faults in the middle of a write, and their leftovers."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import AlreadyExists, StorageUnavailable
from handler.storage.folder.files import MAX_MEMORY_BYTES, STALE_SECONDS, LocalStorage

from ..support.stored_files import ID, file, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def local(folder: Path) -> LocalStorage:
    return LocalStorage(folder)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_folder_has_the_documented_layout(local: LocalStorage, folder: Path) -> None:
    put(local)
    assert files_in(folder) == [f"files/{ID}/a.txt", f"metadata/{ID}.json"]
    assert (folder / "files" / ID / "a.txt").read_bytes() == b"some bytes"
    assert (folder / "files" / ID).stat().st_mode & 0o777 == 0o700, "other accounts of the machine cannot read it"


def test_read_only_folder_is_rejected_at_once(folder: Path) -> None:
    folder.mkdir()
    (folder / "tmp").symlink_to("/proc/self/fdinfo")  # not even root can make a file there
    with pytest.raises(OSError, match="uploads/tmp/tmp"):
        LocalStorage(folder)


STEPS = 14
"""How often a write asks the system for something that can fail on the way (see :func:`system_calls`)."""
LARGE = b"x" * (MAX_MEMORY_BYTES + 1)
"""A file that is not kept in memory."""
LARGE_STEPS = 12


def system_calls() -> list[tuple[Any, str]]:
    return [(os, "fsync"), (os, "open"), (os, "write"), (os, "mkdir"), (os, "rename")]


def fail_at(patch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Let the system fail at that step. Return the number of steps."""
    calls = itertools.count()

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == step:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(*args, **kwargs)

        return call

    for owner, name in system_calls():
        patch.setattr(owner, name, failing(getattr(owner, name)))
    return lambda: next(calls)


@pytest.mark.parametrize(
    ("content", "step"),
    [(b"some bytes", step) for step in range(STEPS)] + [(LARGE, step) for step in range(LARGE_STEPS)],
    ids=lambda value: "" if isinstance(value, int) else f"{len(value)} bytes",
)
def test_failure_at_any_step_leaves_nothing(
    local: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, step: int
) -> None:
    writer = local.open_writer()
    writer.write(content)
    with monkeypatch.context() as patch:
        fail_at(patch, step)
        with pytest.raises(StorageUnavailable) as caught:
            writer.commit(file(content))
        writer.abort()
    assert "No space left" in caught.value.reason
    assert "space" not in caught.value.detail
    local.delete(ID, "a.txt")  # as intake does: a commit that failed at the end may have come far enough
    assert files_in(folder) == []
    assert list((folder / "files").iterdir()) == []
    put(local)  # and a second try succeeds


@pytest.mark.parametrize(("content", "count"), [(b"some bytes", STEPS), (LARGE, LARGE_STEPS)], ids=["small", "large"])
def test_list_of_steps_is_complete(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch, content: bytes, count: int
) -> None:
    writer = local.open_writer()
    writer.write(content)
    with monkeypatch.context() as patch:
        steps = fail_at(patch, -1)
        writer.commit(file(content))
        assert steps() == count


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_process_killed_at_any_step_leaves_a_whole_file_or_none(folder: Path, step: int) -> None:
    child = os.fork()
    if child == 0:  # it never returns to pytest
        calls = itertools.count()
        started = LocalStorage(folder)
        for owner, name in system_calls():
            setattr(owner, name, _killing(getattr(owner, name), step, calls))
        put(started)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    whole = {f"files/{ID}/a.txt"} if (folder / "files" / ID).exists() else set()
    assert {path for path in files_in(folder) if path.startswith("files/")} == whole
    local = LocalStorage(folder)
    assert local.find(ID, "a.txt") == (file() if whole else None)
    if whole:
        assert (folder / "files" / ID / "a.txt").read_bytes() == b"some bytes"


def _killing(original: Callable[..., Any], step: int, calls: Iterator[int]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    return call


def test_one_of_several_writes_to_one_id_wins(local: LocalStorage, folder: Path) -> None:
    contents = [f"number {number:02}".encode() for number in range(20)]
    start = threading.Barrier(len(contents))
    won: list[bytes] = []

    def write(content: bytes) -> None:
        writer = local.open_writer()
        writer.write(content)
        start.wait()
        try:
            writer.commit(file(content))
            won.append(content)
        except AlreadyExists:
            writer.abort()

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (folder / "files" / ID / "a.txt").read_bytes() == won[0]
    assert local.find(ID, "a.txt") == file(won[0])


def test_write_to_a_full_disk_fails_and_leaves_nothing(local: LocalStorage, folder: Path) -> None:
    writer = local.open_writer()
    writer.write(LARGE)
    assert writer._file
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), writer._file.fileno())
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        writer.write(b"x" * 1_000_000)  # more than any Python buffers
    writer.abort()
    assert files_in(folder) == []


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Meanwhile this process can open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_file_without_a_free_descriptor_is_not_begun(local: LocalStorage, folder: Path) -> None:
    writer = local.open_writer()
    with no_descriptors(), pytest.raises(StorageUnavailable) as caught:
        writer.write(LARGE)
    writer.abort()
    assert "Too many open files" in caught.value.reason
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize("content", [b"some bytes", LARGE], ids=["small", "large"])
def test_abort_without_a_free_descriptor_deletes_the_file(
    local: LocalStorage, folder: Path, content: bytes, commits: bool
) -> None:
    writer = local.open_writer()
    writer.write(content)
    with no_descriptors():
        if commits:
            with pytest.raises(StorageUnavailable):
                writer.commit(file(content))
        writer.abort()
    assert list((folder / "tmp").iterdir()) == []


def test_leftovers_of_a_killed_process_are_swept_after_a_day(local: LocalStorage, folder: Path) -> None:
    put(local)
    for name in ("old", "new", "growing"):
        (folder / "tmp" / name).mkdir()
        (folder / "tmp" / name / "data").write_text("half writ")
        (folder / "metadata" / f"{name}.json").write_text("half writ")
    long_ago = time.time() - STALE_SECONDS - 60
    old = [folder / "tmp" / "old", folder / "tmp" / "old" / "data", folder / "metadata" / "old.json"]
    for path in (*old, folder / "tmp" / "growing", folder / "metadata" / f"{ID}.json"):
        os.utime(path, (long_ago, long_ago))
    local = LocalStorage(folder)
    assert sorted(path.name for path in (folder / "tmp").iterdir()) == ["growing", "new"], "a slow upload goes on"
    assert sorted(path.name for path in (folder / "metadata").iterdir()) == [f"{ID}.json", "growing.json", "new.json"]
    assert local.find(ID, "a.txt") == file()


def test_half_written_metadata_is_never_read(local: LocalStorage, folder: Path) -> None:
    (folder / "metadata" / f"{ID}.json").write_text('{"id": "01')
    assert local.find(ID, "a.txt") is None
