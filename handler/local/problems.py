"""The errors that only the local server can respond with. The table of all other errors is :mod:`handler.problems`.

They are about a request that the local server cannot read, or cannot take at the moment. On AWS, API Gateway rejects
such a request itself, so the function never responds with any of these.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..problems import Problem


class UriTooLong(Problem):
    status = 414
    slug = "uri-too-long"
    title = "Address too long"


class HeaderTooLarge(Problem):
    status = 431
    slug = "header-too-large"
    title = "Header too large"


class TransferCodingNotSupported(Problem):
    status = 501  # RFC 9112, section 6.1
    slug = "transfer-coding-not-supported"
    title = "Unsupported transfer coding"


class ServerUnavailable(Problem):
    """The local server stops, or it has too many connections."""

    status = 503
    slug = "server-unavailable"
    title = "Server unavailable"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class VersionNotSupported(Problem):
    status = 505
    slug = "version-not-supported"
    title = "Unsupported HTTP version"
