"""Access: the rights of a client, by its token or by the machine that it sends from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import Request, g

from ..problems import AccessNotConfigured, Forbidden, TokenRequired

UPLOAD, DELETE, LIST = "upload", "delete", "list"
SCOPES = (UPLOAD, DELETE, LIST)

MAX_TOKEN_SECONDS = 10 * 366 * 24 * 60 * 60
"""The longest validity of a token: ten years. A later ``exp`` is a mistake, such as milliseconds, or a token without
an end."""
PROXY_FIELDS = (
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Real-IP", "Via"
)  # fmt: skip
"""The header fields of proxies. A proxy on the same machine sends from a loopback address, but its clients may not.
With ``TRUSTED_PROXIES`` the address comes from these fields, which stay in the request: without a token, a proxied
request is still refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """The rights of a client.

    :param scopes: of :data:`SCOPES`.
    :param max_bytes: the largest file, in bytes; ``None`` for the limit of the server.
    :param extensions: the extensions that may be uploaded; ``None`` for those that the server allows.
    :param expires: the time at which the token expires, in seconds since 1970; ``None`` without a token.
    :param subject: the user that the token names.
    :param folder: the folder of a user or tenant; ``None`` if the client may work in all folders.
    :param meta: the JSON object that every file of the client gets.
    :param keep_days: the number of days after which the files expire; ``None`` for the server's own rule.
    :param token_missing: the client sent no token, and might have more rights with one.
    """

    scopes: frozenset[str]
    max_bytes: int | None = None
    extensions: frozenset[str] | None = None
    expires: float | None = None
    subject: str | None = None
    folder: str | None = None
    meta: Mapping[str, Any] | None = None
    keep_days: int | None = None
    token_missing: bool = False

    def require(self, scope: str) -> None:
        """Check that the client has a scope.

        :raises TokenRequired: the client sent no token, and needs one for that (RFC 9110, section 15.5.2).
        :raises Forbidden: the token of the client does not have the scope.
        """
        if scope in self.scopes:
            return
        if self.token_missing:
            raise TokenRequired(
                f"This needs a token with the scope '{scope}'. Send it as 'Authorization: Bearer TOKEN'."
            )
        raise Forbidden(f"This needs a token with the scope '{scope}'.", scope=scope)

    def require_folder(self, folder: str | None) -> None:
        """Check that the client may work in a folder.

        :param folder: the folder of a file; ``None`` for a file outside all folders.
        :raises Forbidden: the token of the client is for another folder.
        """
        if self.folder not in (None, folder):
            raise Forbidden("The token is for another folder. Use a token for the folder of the file.")


EVERYTHING = Grant(scopes=frozenset(SCOPES))
UPLOADING = Grant(scopes=frozenset((UPLOAD,)))


class Access(Protocol):
    """A rule that decides about the rights of clients."""

    def check_request(self, request: Request) -> None:
        """Decide by the origin and the address of a request, before anything else is read.

        :raises Forbidden: requests from there are not accepted.
        """

    def grant(self, token: str | None, /) -> Grant:
        """Return the rights of a client.

        :param token: the token of the client; ``None`` if it sent none.
        :raises InvalidToken: the token is not valid.
        :raises TokenRequired: the client must send a token.
        """


class PublicAccess:
    """Everyone may upload. Nobody may list or delete files: that needs a token, and there is no secret to sign one."""

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, _token: str | None, /) -> Grant:
        return UPLOADING


class NoAccess:
    """Nobody may upload, because access is not configured. An endpoint must not be open by accident."""

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, _token: str | None, /) -> Grant:
        raise AccessNotConfigured()


class LoopbackAccess:
    """The users of this machine may do everything. The web sites that they visit may do nothing.

    A web site can make a browser send a form to localhost: then ``Origin`` names the site. It can load an image or a
    script from there, without ``Origin``: then ``Sec-Fetch-Site`` says ``cross-site``. It can also give its own name
    the address 127.0.0.1: then ``Host`` holds that name (DNS rebinding).

    :param allowed_origins: the web sites that may send requests all the same.
    """

    def __init__(self, *, allowed_origins: Sequence[str]) -> None:
        self._allowed_origins = allowed_origins

    def check_request(self, request: Request) -> None:
        host = urlsplit(f"//{request.host}").hostname
        if not (is_loopback(host) and is_loopback(request.remote_addr)):
            raise Forbidden(
                "Without ACCESS and TOKEN_SECRET only this machine may send requests to the endpoint. Set one of them."
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
            g.refused_origin = origin
            raise Forbidden("Another web site sent this request. To allow that, add its origin to ALLOWED_ORIGINS.")

    def grant(self, _token: str | None, /) -> Grant:
        return EVERYTHING


def _is_from_another_site(request: Request) -> bool:
    """Return whether a browser that sends no ``Origin`` says ``cross-site`` (W3C, "Fetch Metadata Request Headers").

    A link that the user follows does not count. It opens a page or a download in a tab, and the other site cannot read
    that.
    """
    is_followed_link = (
        request.method in ("GET", "HEAD")
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    return request.headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site" and not is_followed_link


def _referring_origin(request: Request) -> str:
    """Return the origin of the other site; ``null`` if the browser does not name it (RFC 6454, section 7.1)."""
    try:
        url = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "null"
    return f"{url.scheme}://{url.netloc}" if url.scheme and url.netloc else "null"


def is_loopback(host: str | None) -> bool:
    """Return whether an address or a name stands for this machine only.

    ``localhost`` is the only name that counts: any other name could be given any address.
    """
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host == "localhost"
    # Since Python 3.13 ::ffff:127.0.0.1 is a loopback address too. No client of ours needs to write it like that.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
