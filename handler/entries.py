"""The description of a stored file that clients, back ends and webhooks receive. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from .storage import ListedFile, StoredFile


def file_entry(file: StoredFile, *, url: str | None) -> dict[str, Any]:
    """Return the description of a stored file. The members from ``subject`` on are there only for files that have them.

    :param url: the address of the file; ``None`` if the endpoint has no downloads.
    """
    more = {
        "stored": rfc3339(file.stored),
        "subject": file.subject,
        "folder": file.folder,
        "meta": file.meta,
        "fields": file.fields,
        "expires": rfc3339(file.expires),
        "url": url,
        "location": url,
    }
    return {
        "id": file.id,
        "name": file.name,
        "original_name": file.original_name,
        "size": file.size,
        "type": file.media_type,
        "sha256": file.sha256,
        **{name: value for name, value in more.items() if value is not None},
    }


def listed_entry(file: ListedFile, *, url: str | None) -> dict[str, Any]:
    """Return the description of a file in a list.

    :param url: as in :func:`file_entry`.
    """
    more = {"folder": file.folder, "url": url}
    return {
        "id": file.id,
        "name": file.name,
        "size": file.size,
        "stored": rfc3339(file.stored),
        **{name: value for name, value in more.items() if value is not None},
    }


def rfc3339(time: datetime | None) -> str | None:
    """Return a time in UTC and whole seconds, such as ``2026-11-27T14:00:00Z`` (RFC 3339, section 5.6)."""
    return None if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"
