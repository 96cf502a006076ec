"""Direct uploads to the folder storage, without HTTP."""

from __future__ import annotations

from handler.storage import new_id
from handler.storage.direct import Declaration
from handler.storage.folder.direct import LocalDirectUploads


def part_ticket(uploads: LocalDirectUploads, file_id: str, number: int, size: int | None = None) -> str:
    """Return the ticket that ends the URL of a part."""
    return uploads.part_url(file_id, file_id, number, size=size).rpartition("/")[2]


def begun(uploads: LocalDirectUploads) -> str:
    """Begin an upload in parts, and return its id."""
    file_id = new_id()
    uploads.begin(file_id, Declaration(original_name="a.txt", max_bytes=10**9))
    return file_id
