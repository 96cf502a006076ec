"""The dialect that the client of the current request asks for with ``?for=``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import g, request

from ..problems import MalformedRequest
from .services import current_services

if TYPE_CHECKING:
    from types import ModuleType

    from .dialects import Dialect

UPLOAD_ROUTES = "upload"
"""The name of the blueprint whose routes take a file, and respond in a dialect."""
RESUMABLE_ROUTES = "resumable"
"""The name of the blueprint whose routes take pieces of a file."""


def requested_dialect() -> Dialect | None:
    """Return the dialect that an upload asks for with ``?for=``. All other requests get ``None``, and so does an
    unknown name. Clients of tus and of the IETF's draft have no dialect: they read the status and the header fields.
    FilePond's pieces have a field that shows their client, and an address without a query."""
    name = request.args.get("for")
    if request.method == "PATCH" and "Upload-Name" in request.headers:
        filepond: Dialect | None = _dialects().find("filepond")
        return filepond
    if request.blueprint != UPLOAD_ROUTES or request.method not in ("POST", "PUT"):
        return None
    if name is None or "ignores_dialect" in g:
        return None
    dialect: Dialect | None = _dialects().find(name)
    return dialect


def check_dialect() -> None:
    """Check the value of ``?for=``, if it is there.

    :raises MalformedRequest: the value names no known client, or a client that needs downloads where there are none.
    """
    if "for" not in request.args:
        return
    dialect = requested_dialect()
    if dialect is None:
        known = ", ".join(_dialects().names())
        raise MalformedRequest(f"The value of 'for' is not the name of a known client. Use one of: {known}.")
    if dialect.needs_url and not current_services().settings.downloads:
        raise MalformedRequest(
            "This client shows a file from its URL, and here files have none. Set DOWNLOADS=on, or send the file "
            f"without '?for={dialect.name}'."
        )


def _dialects() -> ModuleType:
    """Import the dialects at their first use. Most requests ask for none, so no cold start waits for them."""
    from . import dialects  # noqa: PLC0415

    return dialects
