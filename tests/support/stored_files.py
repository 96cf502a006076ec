"""A stored file, and ways to write it to a storage and to read its content back."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from handler.storage import StoredFile

if TYPE_CHECKING:
    from handler.storage import Storage


ID = "0123456789abcdef0123456789abcdef"


def file(content: bytes = b"some bytes", **changes: Any) -> StoredFile:
    """Return the description of a file, with these attributes changed."""
    attributes: dict[str, Any] = {
        "id": ID,
        "name": "a.txt",
        "original_name": "ä b.txt",
        "size": len(content),
        "media_type": "text/plain",
        "sha256": hashlib.sha256(content).hexdigest(),
        "stored": datetime(2026, 11, 27, 12, 0, 30, tzinfo=UTC),
    }
    return StoredFile(**attributes | changes)


def put(storage: Storage, content: bytes = b"some bytes", **changes: Any) -> StoredFile:
    """Store a file."""
    stored = file(content, **changes)
    writer = storage.open_writer()
    writer.write(content)
    writer.commit(stored)
    return stored


def content_of(storage: Storage, stored: StoredFile) -> bytes:
    """Read a file back, from its path or from its presigned URL."""
    location = storage.download(stored)
    if isinstance(location, Path):
        return location.read_bytes()
    return fetch(location)


def fetch(url: str) -> bytes:
    """Read a presigned URL. moto answers ``requests`` in this process."""
    response = requests.get(url, timeout=10)
    assert response.status_code == 200
    return response.content
