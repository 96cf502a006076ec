"""The grant of the client that sent the current request."""

from __future__ import annotations

import time

from flask import Request, g, request

from ..problems import Forbidden, Problem
from .access import UPLOAD, Grant
from .services import current_services

MAX_LOGGED_SUBJECT_CHARS = 64
"""How much of a token's ``sub`` is logged: a UUID, a number, or something else that distinguishes users."""
MAX_PATH_TOKEN_SECONDS = 60 * 60 + 60
"""The longest validity of a token in a path: an hour, and a minute for clocks that differ."""


def current_grant(token: str | None) -> Grant:
    """Return the rights of the client that sent the current request, and keep its ``sub`` for the log.

    :raises Problem: as :meth:`~handler.web.access.Access.grant`.
    """
    grant = current_services().access.grant(token)
    g.subject = _loggable(grant.subject or "")
    return grant


def current_upload_grant(path_token: str | None) -> Grant:
    """Return the grant of a client that may upload.

    A token in a path must have the scope ``upload`` only and expire within an hour. Logs of proxies, histories and
    copied addresses show a path to more people than a header field.

    :param path_token: the token from the path; ``None`` where the route has none. Then ``Authorization`` counts.
    :raises Problem: as :meth:`~handler.web.access.Access.grant`.
    :raises Forbidden: the token must not be in a path, or does not allow uploads.
    """
    grant = current_grant(path_token if path_token is not None else bearer_token(request))
    grant.require(UPLOAD)
    if path_token is not None and grant.expires is not None:
        if grant.scopes != {UPLOAD}:
            raise Forbidden("A token in a path may have the scope 'upload' only. Make one without other scopes.")
        if grant.expires > time.time() + MAX_PATH_TOKEN_SECONDS:
            raise Forbidden("A token in a path may be valid for one hour at most. Make one that expires sooner.")
    return grant


def token_grant() -> Grant | None:
    """Return the grant of the client's token; ``None`` without a valid token. Its folder counts with every scope."""
    token = bearer_token(request)
    if token is None:
        return None
    try:
        grant = current_grant(token)
    except Problem:
        return None  # the request needs no token, so an invalid token changes nothing
    return grant if grant.expires is not None else None


def asking_folder(path_token: str | None) -> str | None:
    """Return the folder of a client that asks for the status of an upload. No token is needed for that.

    :param path_token: the token from the path, if the route has one. It must be valid.
    """
    grant = token_grant() if path_token is None else current_upload_grant(path_token)
    return grant.folder if grant else None


def _loggable(subject: str) -> str | None:
    """Return a ``sub`` for the log: one line, without characters that hide or reorder others."""
    return "".join(char for char in subject if char.isprintable()).strip()[:MAX_LOGGED_SUBJECT_CHARS] or None


def bearer_token(request: Request) -> str | None:
    """Return the token in the ``Authorization`` field (RFC 6750, section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
