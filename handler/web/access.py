"""Who may do what: by token, everyone, or whoever sits at this machine."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from flask import Request, current_app, g, request

from ..problems import AccessNotConfigured, Forbidden, TokenRequired

UPLOAD, DELETE = "upload", "delete"
SCOPES = (UPLOAD, DELETE)

MAX_LOGGED_SUBJECT_CHARS = 64
"""How much of a token's ``sub`` goes into the log: a UUID, a number, or what else tells one user from another."""
MAX_TOKEN_SECONDS = 10 * 366 * 24 * 60 * 60
"""How far away ``exp`` may be: ten years. A later one is a mistake, such as milliseconds, or a token without an end."""
MAX_PATH_TOKEN_SECONDS = 60 * 60 + 60
"""How long a token in a path may be good: an hour, and what the clocks of two machines may differ."""
PROXY_FIELDS = (
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Real-IP", "Via"
)  # fmt: skip
"""A proxy on the same machine speaks from a loopback address for clients that do not have one. With ``TRUSTED_PROXIES``
the address comes from these fields, which stay in the request: without a token, a proxied request is still refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a client may do.

    :param scopes: of :data:`SCOPES`.
    :param max_bytes: the most that one file may hold, or ``None`` for what the server allows.
    :param extensions: the extensions that may be uploaded, or ``None`` for what the server allows.
    :param expires: the time that its token expires, in seconds since 1970; ``None`` where there is none.
    :param subject: whom the token names.
    :param token_missing: the client sent no token, and with one it might do more.
    """

    scopes: frozenset[str]
    max_bytes: int | None = None
    extensions: frozenset[str] | None = None
    expires: float | None = None
    subject: str | None = None
    token_missing: bool = False

    def require(self, scope: str) -> None:
        """
        :raises TokenRequired: the client has to send a token to do that (RFC 9110, section 15.5.2).
        :raises Forbidden: it may not do that.
        """
        if scope in self.scopes:
            return
        if self.token_missing:
            raise TokenRequired(
                f"This needs a token with the scope '{scope}'. Send it as 'Authorization: Bearer TOKEN'."
            )
        raise Forbidden(f"This needs a token with the scope '{scope}'.", scope=scope)


EVERYTHING = Grant(scopes=frozenset(SCOPES))
UPLOADING = Grant(scopes=frozenset((UPLOAD,)))


class Access(Protocol):
    """A rule for who may come in."""

    def check_request(self, request: Request) -> None:
        """Decide by where a request comes from, before anything else is looked at.

        :raises Forbidden: from there nothing is answered.
        """

    def grant(self, token: str | None) -> Grant:
        """What the client may do.

        :param token: the token that it sent, if it sent one.
        :raises InvalidToken: it is not good.
        :raises TokenRequired: there has to be one.
        """


class PublicAccess:
    """Everyone may upload; to delete takes a token, which nobody can have."""

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, token: str | None) -> Grant:  # noqa: ARG002
        return UPLOADING


class NoAccess:
    """Nobody, since nobody has said who: an endpoint must not be open by accident."""

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, token: str | None) -> Grant:  # noqa: ARG002
        raise AccessNotConfigured()


class LoopbackAccess:
    """Whoever sits at this machine, and no web site that they happen to visit.

    Any site can make a browser send a form to localhost, with its own name in ``Origin``. Any site can load an image or
    a script from there, without ``Origin``: then ``Sec-Fetch-Site`` tells. And any site can give its own name the
    address 127.0.0.1, which then stands in ``Host`` (DNS rebinding).

    :param allowed_origins: the web sites that may, all the same.
    """

    def __init__(self, *, allowed_origins: Sequence[str]) -> None:
        self._allowed_origins = allowed_origins

    def check_request(self, request: Request) -> None:
        host = urlsplit(f"//{request.host}").hostname
        if not (is_loopback(host) and is_loopback(request.remote_addr)):
            raise Forbidden(
                "Without ACCESS and TOKEN_SECRET this endpoint answers only its own machine. Set one of them."
            )
        if any(field in request.headers for field in PROXY_FIELDS):
            raise Forbidden(
                "A proxy sent this request, so the client's address is unknown. Set TOKEN_SECRET, or ACCESS=public."
            )
        origin = request.headers.get("Origin")
        if origin is None and _is_from_another_site(request):
            origin = _referring_origin(request)
        own = f"{request.scheme}://{request.host}"
        if origin is not None and origin != own and not {origin, "*"} & set(self._allowed_origins):
            raise Forbidden("Another web site sent this. If it may, name it in ALLOWED_ORIGINS.")

    def grant(self, token: str | None) -> Grant:  # noqa: ARG002
        return EVERYTHING


def _is_from_another_site(request: Request) -> bool:
    """Whether a browser that sends no ``Origin`` says so (W3C, Fetch Metadata). A link that somebody follows does not
    count: it opens a page or a download in a tab, which the other site cannot read."""
    followed_link = (
        request.method in ("GET", "HEAD")
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    return request.headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site" and not followed_link


def _referring_origin(request: Request) -> str:
    """The other site, as far as its browser names it; ``null`` if it does not (RFC 6454, section 7.1)."""
    try:
        url = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "null"
    return f"{url.scheme}://{url.netloc}" if url.scheme and url.netloc else "null"


def is_loopback(host: str | None) -> bool:
    """Whether nobody but this machine is behind that address, or that name. No other name counts than localhost: it
    could be given any address."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host == "localhost"
    # Since Python 3.13 ::ffff:127.0.0.1 is a loopback address too. No client of ours needs to write it like that.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def current_grant(token: str | None) -> Grant:
    """What the client may do who sent this request; whom its token names is kept for the log.

    :raises Problem: as :meth:`Access.grant`.
    """
    access: Access = current_app.extensions["access"]
    grant = access.grant(token)
    g.subject = _shown(grant.subject or "")
    return grant


def current_upload_grant(path_token: str | None) -> Grant:
    """Return the grant of a client that may upload.

    A token in a path must have the scope ``upload`` only and expire within an hour: proxies' logs, histories and copied
    addresses show a path to more eyes than a header field.

    :param path_token: the token from the path; ``None`` where the route has none. Then ``Authorization`` counts.
    :raises Problem: as :meth:`Access.grant`.
    :raises Forbidden: the token must not be in a path, or does not allow uploads.
    """
    grant = current_grant(path_token if path_token is not None else bearer_token(request))
    grant.require(UPLOAD)
    if path_token is not None and grant.expires is not None:
        if grant.scopes != {UPLOAD}:
            raise Forbidden("A token in a path may have the scope 'upload' only.")
        if grant.expires > time.time() + MAX_PATH_TOKEN_SECONDS:
            raise Forbidden("A token in a path may be valid for one hour at most. Make one that expires sooner.")
    return grant


def _shown(subject: str) -> str | None:
    """A ``sub`` as the log may have it: on one line, without characters that hide others or turn them around."""
    return "".join(char for char in subject if char.isprintable()).strip()[:MAX_LOGGED_SUBJECT_CHARS] or None


def bearer_token(request: Request) -> str | None:
    """The token in the ``Authorization`` field (RFC 6750, section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
