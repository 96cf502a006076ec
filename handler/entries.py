"""The description of a stored file that clients, back ends and webhooks receive. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .storage import StoredFile


def file_entry(file: StoredFile, *, url: str | None) -> dict[str, Any]:
    """Return the description of a stored file.

    :param url: the address of the file; ``None`` if the endpoint has no downloads.
    """
    entry: dict[str, Any] = {
        "id": file.id,
        "name": file.name,
        "original_name": file.original_name,
        "size": file.size,
        "type": file.media_type,
        "sha256": file.sha256,
    }
    if url:
        entry |= {"url": url, "location": url}
    return entry
