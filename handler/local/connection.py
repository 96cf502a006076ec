"""The bytes that come in on a connection of the local server."""

from __future__ import annotations

import select
import selectors
import socket
from typing import TYPE_CHECKING

from ..units import KIB
from .problems import ServerUnavailable

if TYPE_CHECKING:
    from typing import Protocol

    from _typeshed import WriteableBuffer

    class Stoppable(Protocol):
        """A server that stops once, and a socket that is readable from then on."""

        @property
        def stopping(self) -> bool: ...

        @property
        def wakes_at_stop(self) -> socket.socket: ...


READ_BYTES = 64 * KIB
"""How much is read ahead. The whole of a small request arrives in one call of the system."""

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""``poll`` needs no open file of its own, unlike epoll and kqueue. Windows has only ``select``."""
_DO_NOT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""The flag of a call that does not wait. Windows has none."""


class Reader:
    """Reads from a connection until the client closes it, or the server stops.

    Shutting down the socket would not be enough to stop: a thread may just have begun, and a client may send faster
    than the server reads.

    ``io.BufferedReader`` cannot do this work: if the connection breaks while that class fills a buffer, the bytes that
    came before the break are lost. A resumable upload keeps those bytes.

    :param connection: is read by this object only.
    :param server: ends the bytes when it stops.
    """

    def __init__(self, connection: socket.socket, server: Stoppable) -> None:
        self._connection = connection
        self._server = server
        self._ahead = bytearray()
        """Bytes that were read and not yet asked for."""
        self._has_begun = False
        self._stop_signal: int | None = server.wakes_at_stop.fileno()
        self._news: selectors.BaseSelector | None = None

    def close(self) -> None:
        """Do nothing: the server closes the connection."""

    def next_request(self, seconds: float) -> bool:
        """Wait for another request.

        :param seconds: the maximum time.
        :returns: whether something came: a request, or the end of the connection.
        """
        self._has_begun = bool(self._ahead)
        return self._has_begun or (self.wait(seconds) and not self._server.stopping)

    def readline(self, limit: int, /) -> bytes:
        """Return the bytes up to the next LF, or fewer at the limit and at the end of the connection.

        :param limit: the maximum number of bytes.
        :raises ServerUnavailable: the server stops while a request comes in.
        """
        searched = 0
        while not (end := self._ahead.find(b"\n", searched, limit) + 1) and len(self._ahead) < limit:
            searched = len(self._ahead)
            if not self._read_ahead():
                break
        return self._take(end or limit)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with bytes that have arrived, and wait only for the first byte.

        :returns: the number of bytes; 0 if the client has closed the connection.
        :raises ServerUnavailable: the server stops while a request comes in.
        """
        if not self._ahead:
            return self._receive(buffer)
        view = memoryview(buffer)
        data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until bytes arrive, the client closes the connection, or the server stops.

        :param seconds: the maximum time, or ``None`` for no limit.
        :returns: whether one of these happened.
        """
        if self._news is None:
            self._news = _Selector()
            self._news.register(self._connection, selectors.EVENT_READ)
            if self._stop_signal is not None:
                self._news.register(self._stop_signal, selectors.EVENT_READ)
        return bool(self._news.select(seconds))

    def ignore_stop(self) -> None:
        """Let :meth:`wait` wait on although the server stops."""
        if self._news is not None and self._stop_signal is not None:
            self._news.unregister(self._stop_signal)
        self._stop_signal = None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._ahead[:count])
        del self._ahead[:count]  # takes no longer for a long rest
        return taken

    def _read_ahead(self) -> int:
        buffer = bytearray(READ_BYTES)
        count = self._receive(buffer)
        self._ahead += memoryview(buffer)[:count]
        return count

    def _receive(self, buffer: WriteableBuffer) -> int:
        while not self._server.stopping:
            try:
                count = receive(self._connection, buffer)
            except BlockingIOError:
                self.wait()
            else:
                self._has_begun = True
                return count
        if self._has_begun:
            raise ServerUnavailable("The server is stopping. Send the request again in a moment.")
        return 0


def receive(connection: socket.socket, buffer: WriteableBuffer) -> int:
    """Fill the buffer with the bytes that have arrived, without waiting.

    :returns: the number of bytes; 0 if the client has closed the connection.
    :raises BlockingIOError: nothing has arrived.
    """
    if not _DO_NOT_WAIT and not select.select([connection], [], [], 0)[0]:
        raise BlockingIOError
    return connection.recv_into(buffer, 0, _DO_NOT_WAIT)


def send(connection: socket.socket, data: bytes) -> int:
    """Send as many bytes as the system takes, without waiting.

    :returns: the number of bytes.
    :raises BlockingIOError: the client reads too slowly to take any.
    """
    if not _DO_NOT_WAIT and not select.select([], [connection], [], 0)[1]:
        raise BlockingIOError
    return connection.send(data, _DO_NOT_WAIT)
