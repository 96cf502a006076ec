"""Resumable uploads to a folder, without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handler.storage import new_id
from handler.storage.direct import Declaration
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.resumable import LocalResumableUploads
from handler.storage.resumable import Beginning

if TYPE_CHECKING:
    from pathlib import Path


def opened(folder: Path) -> LocalResumableUploads:
    """Open a folder, as a new process does."""
    return LocalResumableUploads(LocalStorage(folder))


def beginning(**declared: Any) -> Beginning:
    """Return the facts of an upload, with these members of its declaration."""
    declaration: dict[str, Any] = {"original_name": "ä b.txt", "max_bytes": 10**9}
    return Beginning(declaration=Declaration(**declaration | declared), metadata="filename YS50eHQ=")


def begun(uploads: LocalResumableUploads, **declared: Any) -> str:
    """Begin an upload, and return its path."""
    path = new_id()
    uploads.begin(path, beginning(**declared))
    return path
