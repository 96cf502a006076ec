"""One try to deliver an event: a POST that is bounded in time, follows no redirect and ignores the response's body.

The deployer chooses the receiver's URL, so a client cannot direct a request anywhere. The host name can change its
address all the same. So the name is resolved once, each address is checked, and the connection goes to a checked
address. A second answer of the name server cannot lead elsewhere ("DNS rebinding").

The standard library does the rest: botocore's urllib3 is not there offline, and its pool does not bound the whole
request in time.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, urlsplit

from .signing import signed_headers

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_SECONDS = 5
"""The longest time for the connection to one address."""
TOTAL_SECONDS = 15
"""The longest time for a whole try, from the first connection to the last header field of the response. The name server
is not included: the system has its own limit."""
DEFAULT_PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""The prefix of IPv6 addresses that lead to an IPv4 address (RFC 6052, section 2.1)."""


class NotDelivered(Exception):
    """The receiver did not confirm the event.

    :param reason: for the log. It holds neither the URL nor the secret nor text of the receiver.
    :param status: the HTTP status of the receiver's response, if there was a response.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Receiver:
    """The server that events are sent to.

    :param url: ``http://`` or ``https://``, without credentials and without a fragment.
    :param keys: the decoded secrets; see :func:`~.signing.signed_headers`.
    :param allow_private: whether the receiver may have a private, loopback or link-local address.
    """

    def __init__(self, url: str, *, keys: Sequence[bytes], allow_private: bool) -> None:
        self._url = urlsplit(url)
        self._keys = keys
        self._allow_private = allow_private

    def deliver(self, event_id: str, body: bytes) -> int:
        """Send an event once.

        :param event_id: see :func:`~.signing.signed_headers`.
        :param body: the event as JSON.
        :returns: the status of the receiver's response, from 200 to 299.
        :raises NotDelivered: the receiver did not confirm the event, or could not be reached in time.
        """
        deadline = time.monotonic() + TOTAL_SECONDS
        try:
            with self._connect(deadline) as connection:
                self._send(connection, event_id, body, deadline=deadline)
                status = _read_status(connection, deadline=deadline)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise NotDelivered(_reason(error)) from None
        if not 200 <= status < 300:
            raise NotDelivered(f"the receiver responded with status {status}", status=status)
        return status

    def _send(self, connection: socket.socket, event_id: str, body: bytes, *, deadline: float) -> None:
        headers = {
            "Host": self._url.netloc,
            "Content-Type": "application/json",
            "User-Agent": "handler-webhook",
            "Connection": "close",
            **signed_headers(self._keys, event_id=event_id, timestamp=int(time.time()), body=body),
        }
        http_connection = http.client.HTTPConnection(_host(self._url))
        http_connection.sock = connection  # so that http.client opens no connection of its own
        connection.settimeout(_seconds_left(deadline))
        http_connection.request("POST", _target(self._url), body, headers)

    def _connect(self, deadline: float) -> socket.socket:
        """Connect to the first address that accepts the connection.

        :raises NotDelivered: the receiver may not have any of its addresses.
        :raises OSError: no address accepts a connection.
        """
        failure: OSError | None = None
        for family, address in self._addresses():
            try:
                return self._secure(_open(family, address, deadline=deadline), deadline=deadline)
            except OSError as error:
                failure = error
        raise failure or NotDelivered(
            "the receiver's address is private. Set WEBHOOK_ALLOW_PRIVATE=on if the receiver is in your own network"
        )

    def _addresses(self) -> Iterator[tuple[socket.AddressFamily, tuple[str, int]]]:
        """Resolve the host name, once, and yield the addresses that the receiver may have."""
        port = self._url.port or DEFAULT_PORTS[self._url.scheme]
        for family, _, _, _, address in socket.getaddrinfo(_host(self._url), port, type=socket.SOCK_STREAM):
            if self._allow_private or is_public(str(address[0])):
                yield family, cast("tuple[str, int]", address)

    def _secure(self, connection: socket.socket, *, deadline: float) -> socket.socket:
        """Return the connection under TLS, if the URL asks for TLS. The certificate must be valid for the host name."""
        if self._url.scheme != "https":
            return connection
        with _closed_on_error(connection):
            connection.settimeout(_seconds_left(deadline))
            return self._tls.wrap_socket(connection, server_hostname=_host(self._url))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _open(family: socket.AddressFamily, address: tuple[str, int], *, deadline: float) -> socket.socket:
    """Return a connection to an address.

    :raises OSError: nothing accepts a connection there in time.
    """
    connection = socket.socket(family, socket.SOCK_STREAM)
    with _closed_on_error(connection):
        connection.settimeout(min(CONNECT_SECONDS, _seconds_left(deadline)))
        connection.connect(address)
    return connection


@contextmanager
def _closed_on_error(connection: socket.socket) -> Iterator[None]:
    """Close a connection if the body of the ``with`` statement fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def is_public(address: str) -> bool:
    """Return whether an IP address is a public unicast address (IANA: "Special-Purpose Address Registry").

    An IPv6 address that leads to an IPv4 address is as public as that IPv4 address.

    :param address: as :func:`socket.getaddrinfo` returns it.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        ip = embedded or ip
    is_site_local = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local  # RFC 3879: old networks may use them
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or is_site_local)


def _host(url: SplitResult) -> str:
    return url.hostname or ""


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _seconds_left(deadline: float) -> float:
    """:raises TimeoutError: the deadline has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _read_status(connection: socket.socket, *, deadline: float) -> int:
    """Return the status of the response. Its body is not read. ``http.client`` bounds its header fields."""
    response = http.client.HTTPResponse(cast("socket.socket", _Responding(connection, deadline)), method="POST")
    try:
        response.begin()
        return response.status
    finally:
        response.close()


class _Responding(io.RawIOBase):
    """Reads a response, with a limit on the whole time. A socket's own time-out begins again with each byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the reader that ``http.client`` asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connection.settimeout(_seconds_left(self._deadline))
        return self._connection.recv_into(buffer)


def _reason(error: Exception) -> str:
    """Return the reason of a failure. Texts of exceptions may quote the receiver, so only chosen members are used."""
    match error:
        case socket.gaierror() | UnicodeError():  # the latter from a name that DNS cannot hold, such as "a..b"
            return "the receiver's host name cannot be resolved"
        case TimeoutError():
            return "the receiver did not respond in time"
        case ssl.SSLCertVerificationError():
            return f"the receiver's certificate is invalid: {error.verify_message}"
        case OSError(strerror=str(text)):
            return f"the connection failed: {text}"
        case _:
            return f"the receiver's response is not valid HTTP ({type(error).__name__})"
