"""One lock for each directory, among threads and among processes.

POSIX systems lock the directory itself (``flock``). Windows cannot open a directory, so there a file next to it is
locked (``msvcrt.locking``). The system releases either lock when a process ends. On a system that has neither call, the
lock holds among the threads of one process. The Windows part was tested with a stand-in for ``msvcrt``, not on Windows.

The alternative was filelock 4.2. It locks only files, so each directory would need a lock file on POSIX systems too. It
would also add 1.4 MB to the artifact for Lambda, which never takes a lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

RETRY_SECONDS = 0.02
"""``msvcrt`` cannot wait for a lock for long, so it is asked again after this time."""


def _import(name: str) -> Any:
    """Import a module of the standard library; ``None`` on a system that does not have it."""
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl = _import("fcntl")
msvcrt = _import("msvcrt")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory.

    :raises FileNotFoundError: there is no such directory.
    """
    with _locked_directory(directory) if fcntl else _locked_file(directory):
        yield


@contextmanager
def _locked_directory(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _locked_file(directory: Path) -> Iterator[None]:
    """Lock the file next to a directory. The file stays: removing it would race with the next lock, and a sweep of old
    uploads removes it later."""
    with _thread_lock(directory), ExitStack() as stack:
        if msvcrt:
            file = stack.enter_context(directory.with_name(f"{directory.name}.lock").open("ab"))
            _lock_for_processes(file.fileno())
        if not directory.is_dir():
            raise FileNotFoundError(directory)
        yield


_thread_locks: WeakValueDictionary[Path, Any] = WeakValueDictionary()
_choosing = threading.Lock()


def _thread_lock(directory: Path) -> Any:
    """Return the lock of a directory for the threads of this process."""
    with _choosing:
        return _thread_locks.setdefault(directory, threading.Lock())


def _lock_for_processes(descriptor: int) -> None:
    """Lock the first byte of an open file. Closing the file releases the lock."""
    while True:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            time.sleep(RETRY_SECONDS)
        else:
            return
