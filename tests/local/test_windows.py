"""The server without the parts of the standard library that Windows lacks. Windows itself is not tried here."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import requests

from handler.storage.folder import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

AS_WINDOWS_DOES = """
import sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
import errno, os, select, signal, socket
for module, names in (
    (signal, ("SIGHUP", "SIGQUIT", "SIGUSR1")),
    (os, ("O_DIRECTORY", "O_TMPFILE", "copy_file_range", "sched_getaffinity")),
    (socket, ("MSG_DONTWAIT",)),
    (select, ("poll", "epoll")),
):
    for name in names:
        delattr(module, name)

def check_not_open(path):
    # Windows moves and removes no open file, and no directory that holds one.
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            opened = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if f"{opened}/".startswith(f"{os.path.abspath(path)}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

def refusing(call, *, directories=True, existing=True, opened=True):
    def refused(path, *arguments, **options):
        if not directories and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        if not existing and os.path.exists(arguments[0]):
            raise FileExistsError(errno.EEXIST, "File exists", str(arguments[0]))
        is_temporary = os.path.isfile(path) and os.path.basename(path).startswith("tmp")  # Windows has O_TEMPORARY
        if not opened and not is_temporary:
            check_not_open(path)
        return call(path, *arguments, **options)
    return refused

os.open = refusing(os.open, directories=False)
os.rename = refusing(os.rename, existing=False, opened=False)
os.replace = refusing(os.replace, opened=False)
os.unlink = refusing(os.unlink, opened=False)
from handler.local.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-c", AS_WINDOWS_DOES, "--port", "0", "--folder", str(tmp_path / "uploads")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    greeting = process.stdout.readline()
    assert greeting.startswith("Serving http"), greeting + process.communicate()[0]
    yield greeting.split()[1].rstrip(",")
    process.terminate()
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_upload_works_without_posix_modules(url: str) -> None:
    content = os.urandom(100_000)
    stored = requests.post(f"{url}/upload", files={"file": ("a.txt", b"hello" * 100)}, timeout=30)
    assert stored.status_code == 201, stored.text
    address = stored.json()["url"]
    assert requests.get(address, timeout=30).content == b"hello" * 100
    assert requests.delete(address, timeout=30).status_code == 204
    assert requests.get(address, timeout=30).status_code == 404
    refused = requests.post(f"{url}/upload", files={"file": ("a.exe", content)}, timeout=30)
    assert refused.status_code == 415


def test_direct_upload_works_without_posix_modules(url: str) -> None:
    """Completing, promoting and aborting an upload takes locks and renames."""
    begun = requests.post(f"{url}/upload/s3/multipart", json={"filename": "a.txt"}, timeout=30).json()
    upload = f"{url}/upload/s3/multipart/{begun['uploadId']}"
    query = {"key": begun["key"]}
    part = requests.get(f"{upload}/1", params=query, timeout=30).json()
    for _ in range(2):  # the second time, the same part replaces the first one
        sent = requests.put(part["url"], data=b"hello", timeout=30)
        assert sent.status_code == 200, sent.text
    completed = requests.post(f"{upload}/complete", params=query, json={}, timeout=30)
    assert completed.status_code == 200, completed.text
    assert requests.get(completed.json()["location"], timeout=30).content == b"hello"


@pytest.fixture
def windows_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """``msvcrt`` as Windows has it: a lock belongs to an open file, and a lock that is taken is an error at once."""

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))


@pytest.fixture(params=["posix", "windows", "neither"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "windows":
        request.getfixturevalue("windows_lock")
    elif request.param == "neither":
        monkeypatch.setattr(locks, "fcntl", None)
    return str(request.param)


def test_lock_of_a_directory_is_held_by_one_thread(system: str, tmp_path: Path) -> None:
    inside, maximum = 0, 0

    def work() -> None:
        nonlocal inside, maximum
        for _ in range(50):
            with locks.locked(tmp_path):
                inside += 1
                maximum = max(maximum, inside)
                threading.Event().wait(0.0001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (maximum, inside) == (1, 0), system


def test_locks_of_two_directories_are_held_at_once(system: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with locks.locked(tmp_path / "a"), locks.locked(tmp_path / "b"):
        pass
    assert (tmp_path / "a.lock").exists() == (system == "windows")


def test_lock_of_a_missing_directory_is_refused(system: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locks.locked(tmp_path / system):
        pytest.fail("there is no such directory")


@pytest.mark.usefixtures("windows_lock")
def test_windows_lock_waits_for_another_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = tmp_path.with_name(f"{tmp_path.name}.lock").open("ab")
    fcntl.flock(held, fcntl.LOCK_EX)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        held.close()  # the other process ends

    monkeypatch.setattr(time, "sleep", wait)
    with locks.locked(tmp_path):
        assert waited == [locks.RETRY_SECONDS]
