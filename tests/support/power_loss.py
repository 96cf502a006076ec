"""A disk that loses its power: only synced bytes and synced directory entries are left. It needs no root."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

Inode = tuple[int, int]
"""A device and an inode number."""
Loss = Literal["names and bytes", "bytes"]
"""The unsynced data that a power loss destroys. POSIX allows both, and file systems with a journal keep the names."""


@dataclass(frozen=True, kw_only=True)
class Remains:
    """A file, or a directory if it has entries."""

    data: bytes = b""
    modified_ns: int = 0
    entries: Mapping[str, Remains] | None = None

    def write(self, path: Path) -> None:
        """Make it, at a path where nothing is."""
        if self.entries is None:
            path.write_bytes(self.data)
            os.utime(path, ns=(self.modified_ns, self.modified_ns))
            return
        path.mkdir()
        for name, entry in self.entries.items():
            entry.write(path / name)


class Disk:
    """Stands for the disk below a directory: takes each ``fsync`` of this process, and records the synced state.

    :param root: the directory. Its entries of this moment count as synced.
    :param on_sync: called before and after each sync.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path, *, on_sync: Callable[[], object]) -> None:
        self._root = root
        self._bytes: dict[Inode, bytes] = {}
        self._entries: dict[Inode, dict[str, Inode]] = {}
        self._pins: dict[Inode, int] = {}
        self._is_directory: dict[Inode, bool] = {}
        descriptor = os.open(root, os.O_RDONLY)
        self._keep(descriptor)
        os.close(descriptor)

        def recorded_fsync(descriptor: int) -> None:
            on_sync()
            self._keep(descriptor)
            on_sync()

        patch.setattr(os, "fsync", recorded_fsync)

    def close(self) -> None:
        for descriptor in self._pins.values():
            os.close(descriptor)

    def after_power_loss(self, *, takes: Loss) -> Remains:
        """Return the state after a power loss at this moment."""
        return self._remains(self._pin(self._root), self._root, takes)

    def _keep(self, descriptor: int) -> None:
        opened = Path(f"/proc/self/fd/{descriptor}")
        inode = self._pin(opened, follows=True)
        if self._is_directory[inode]:
            self._entries[inode] = {path.name: self._pin(path) for path in opened.iterdir()}
        else:
            self._bytes[inode] = opened.read_bytes()

    def _pin(self, path: Path, *, follows: bool = False) -> Inode:
        """The inode of a path. It is held open, so that the system does not give its number to another file."""
        descriptor = os.open(path, os.O_PATH | (0 if follows else os.O_NOFOLLOW))
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        if inode in self._pins:
            os.close(descriptor)
        self._pins.setdefault(inode, descriptor)
        self._is_directory[inode] = stat.S_ISDIR(status.st_mode)
        return inode

    def _remains(self, inode: Inode, path: Path, takes: Loss) -> Remains:
        if not self._is_directory[inode]:
            return Remains(data=self._bytes.get(inode, b""), modified_ns=os.fstat(self._pins[inode]).st_mtime_ns)
        entries = self._entries.get(inode, {})
        if takes == "bytes":
            entries = {entry.name: self._pin(entry) for entry in path.iterdir()}
        return Remains(entries={name: self._remains(entry, path / name, takes) for name, entry in entries.items()})
