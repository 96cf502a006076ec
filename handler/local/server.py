"""The local server: it listens, hands requests to the app, and stops without leaving unfinished uploads behind.

It is written by hand because of how it treats requests that are malformed or cut off. Over 23 such requests it handles
all 23 as intended; gunicorn handles 15, waitress 11, cheroot 9, and Werkzeug's own server 7. gunicorn and cheroot store
5 of 1,000 announced bytes and answer 201. waitress reads the whole body before the app sees the request. The threads,
the sockets and the WSGI environment come from Werkzeug; the reading of requests is in ``http1.py``.
"""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ..logs import logger
from ..problems import Problem
from ..units import GIB, KIB
from ..web import hooks
from . import http1
from .connection import Reader, receive, send
from .problems import ServerUnavailable
from .response import Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

BACKLOG = 2048
"""The maximum number of connections that wait to be accepted. The system may allow fewer (Linux:
``net.core.somaxconn``)."""
MAX_CONNECTIONS = 2048
"""The maximum number of connections that are served at once. The limit of open files may allow fewer."""
FILES_PER_CONNECTION = 4
"""The open files that one request may need: its socket, a file, a directory to sync, a connection to S3."""
SPARE_FILES = 48
"""The open files that the rest of the process needs: the log, modules, connections that are turned away."""
ROOM_SECONDS = 1
"""The time for which a connection waits for another connection to end, before the server turns connections away."""
MAX_TURNED_AWAY = 16
"""The maximum number of rejected connections that stay open, so that their clients can read the response."""
TURNED_AWAY_SECONDS = 2
"""The time for which each rejected connection may stay open."""
ACCEPT_PAUSE_SECONDS = 0.1
"""The pause after the system refused another open file."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""The connection of a client that vanished ends after two minutes: 60 s of silence and four unanswered probes."""
IDLE_SECONDS = 5
"""The time for which a connection stays open without a request. The response says so, in ``Keep-Alive``."""
STOP_SECONDS = 5
"""The time for requests to end when the server stops and they no longer wait for their client."""
MAX_DRAIN_BYTES = 6 * GIB
"""The maximum that is read of a refused body and dropped: more than a file of the default limit."""
DRAIN_SECONDS = 30
"""The maximum time for reading a refused body."""
DRAIN_SILENT_SECONDS = 5
"""The maximum time for which the client of a refused body may send nothing."""
DRAIN_STOPPING_SECONDS = 1
"""The maximum time for reading a refused body when the server stops."""
DRAIN_READ_BYTES = 64 * KIB

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def raise_file_limit() -> None:
    """Raise this process's limit of open files as far as :data:`MAX_CONNECTIONS` needs and the system allows.

    Many shells set it to 1,024 and macOS to 256, for programs that use ``select()``. Windows has no such limit.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS * FILES_PER_CONNECTION + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Return the number of connections that the limit of open files (``ulimit -n``) allows at once."""
    if resource is None:
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (soft - SPARE_FILES) // FILES_PER_CONNECTION))


class Server(ThreadedWSGIServer):
    """A server. It listens as soon as it is made, and serves after :meth:`serve_forever`.

    :param host: the address to listen on.
    :param port: the port, or 0 for any free port; :attr:`port` has the port in use.
    :param app: responds to every request, also to those that cannot be read.
    :raises OSError: the server cannot listen there.
    """

    stopping = False
    """Whether the server should stop. Signal handlers set this, since an exception would interrupt a request."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        self._requests: set[threading.Thread] = set()
        self._max_connections = max_connections()
        self._room = threading.Semaphore(self._max_connections)
        self._room_seconds: float = ROOM_SECONDS
        self._turned_away: deque[tuple[float, socket.socket]] = deque()
        self._stop_by: float | None = None
        # Closing one end wakes every thread that waits at the other.
        self.wakes_at_stop, self._stop_signal = socket.socketpair()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # Bind here: for a busy port Werkzeug would print three lines and end the process itself.
            with socket.create_server((host, port), family=family, backlog=BACKLOG) as bound:
                super().__init__(host, bound.getsockname()[1], app, RequestHandler, fd=bound.fileno())  # copies it
        except BaseException:
            self._close_signal()
            raise

    def serve_forever(self, poll_interval: float = 0.2) -> None:
        """Serve until :attr:`stopping` is set.

        :param poll_interval: the time between two looks at :attr:`stopping`, in seconds.
        """
        self.timeout = poll_interval
        while not self.stopping:
            self.handle_request()
            self._close_turned_away()
        self.stop()

    def stop(self) -> None:
        """Accept no more connections and wait until the requests under way have ended.

        A request that still waits for its client gets 503, and its upload is deleted. A second call waits no longer
        than the first: a client that does not read its response could keep a request open for ever.
        """
        self.stopping = True
        self.server_close()
        self._stop_signal.close()
        if self._stop_by is None:
            self._stop_by = time.monotonic() + STOP_SECONDS
        for thread in self._requests.copy():
            thread.join(max(0, self._stop_by - time.monotonic()))
        self._close_turned_away()
        self._close_signal()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            connection, address = super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                time.sleep(
                    ACCEPT_PAUSE_SECONDS
                )  # the connection stays in the queue: without a pause the loop would spin
            raise
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection in a thread, or turn it away if there are too many connections."""
        if not (self._has_room() and self._start_thread(request, client_address)):
            self._turn_away(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(threading.current_thread())

    @property
    def keeps_connections(self) -> bool:
        """Whether connections may stay open after a response: not if the server stops, or half of the places are taken.

        A client without a request would otherwise keep the place of a client that has one.
        """
        return not self.stopping and 2 * len(self._requests) <= self._max_connections

    def handle_error(self, *_: Any) -> None:
        logger.exception("fault")

    def _start_thread(self, connection: socket.socket, address: Any) -> bool:
        """Serve the connection in a thread. Return ``False`` if the system has no more threads."""
        thread = threading.Thread(target=self.process_request_thread, args=(connection, address), daemon=True)
        self._requests.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._forget(thread)
            return False
        return True

    def _forget(self, thread: threading.Thread) -> None:
        self._requests.discard(thread)
        self._room.release()

    def _has_room(self) -> bool:
        """Take one of the places for connections. Return ``False`` if all are taken.

        In a burst a connection waits in the listening socket's queue for a moment. If no place becomes free, the next
        connections are turned away at once until another connection ends. Otherwise each of them would wait that long.
        """
        has_room = self._room.acquire(timeout=self._room_seconds)
        self._room_seconds = ROOM_SECONDS if has_room else 0
        return has_room

    def _turn_away(self, connection: socket.socket, address: Any) -> None:
        """Respond with 503, without a thread and without waiting for the client."""
        connection.setblocking(False)
        with suppress(OSError):
            TurnAwayHandler(connection, address, self)
            connection.shutdown(socket.SHUT_WR)
        self._turned_away.append((time.monotonic() + TURNED_AWAY_SECONDS, connection))
        self._close_turned_away()

    def _close_turned_away(self) -> None:
        """Close the rejected connections that their client has closed, or that stayed open long enough."""
        kept = []
        for deadline, connection in self._turned_away:
            if self.stopping or time.monotonic() > deadline or _has_closed(connection):
                self.close_request(connection)
            else:
                kept.append((deadline, connection))
        for _, connection in kept[:-MAX_TURNED_AWAY]:
            self.close_request(connection)
        self._turned_away = deque(kept[-MAX_TURNED_AWAY:])

    def _close_signal(self) -> None:
        self.wakes_at_stop.close()
        self._stop_signal.close()


class RequestHandler(WSGIRequestHandler):
    """Reads requests, one after the other, and lets the app respond, even to a request that cannot be read.

    So all responses look alike, and the app logs every request, without its path.
    """

    server: Server
    rfile: Reader  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = Reader(self.connection, self.server)
        self._unsent = b""
        self._forget_request()

    def _forget_request(self) -> None:
        """Take the values for a request that cannot be read: no route matches them."""
        self.command, self.path, self.request_version = "", "*", "HTTP/1.1"
        self.headers = Message()
        self._refusal: Problem | None = None
        self._is_chunked = False
        self._responds = False
        self._keeps_open = False

    def handle_one_request(self) -> None:
        try:
            line = http1.read_line(self.rfile)
            if line is None:
                self.close_connection = True
                return
            self.command, self.path, self.request_version = line
            header = http1.read_header(self.rfile, version=line.version)
            self._is_chunked = http1.is_chunked(header, version=line.version)
            self.headers = header
        except Problem as problem:
            self._refusal = problem
        self.run_wsgi()
        if self.close_connection:
            self._drain()
        else:
            self._forget_request()
            self.close_connection = not self.rfile.next_request(IDLE_SECONDS)

    def run_wsgi(self) -> None:
        """Let the app respond (PEP 3333).

        Werkzeug's own method sends ``100 Continue`` before the app has seen the request. It also keeps the client until
        it has read 10 MB, or the end of the client's bytes.
        """
        environ = self.make_environ()
        response = Response(method=self.command, write=self._write, begin=self._begin_response)
        content = self.server.app(environ, response.start)
        try:
            response.send(content)
        finally:
            if hasattr(content, "close"):
                content.close()
        self.close_connection = not (self._keeps_open and response.is_complete)

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()
        if self._refusal:
            environ[hooks.REFUSAL] = self._refusal
        elif self.request_version != "HTTP/1.0":  # RFC 9110, section 15.2
            environ[hooks.SEND_INTERIM] = self._send_interim
        # On Python 3.11 Werkzeug's own reader returns unwritten memory if the client leaves in the middle of a chunk.
        source: http1.Body = (
            http1.ChunkedBody(self.rfile)
            if self._is_chunked
            else http1.SizedBody(self.rfile, int(self.headers.get("Content-Length", "0")))
        )
        self._body = _Body(source, go_ahead=self._go_ahead if self._client_waits() else None)
        environ["wsgi.input"] = self._body
        return environ

    def _client_waits(self) -> bool:
        """Return whether the client waits for ``100 Continue`` before its body (RFC 9110, section 10.1.1)."""
        expectation = self.headers.get("Expect", "").strip(" \t").lower()
        return expectation == "100-continue" and self.request_version != "HTTP/1.0"

    def _go_ahead(self) -> None:
        with suppress(OSError):  # the client has left, which the next read reports
            self._write(http1.interim_response(100, ()))

    def _send_interim(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send an interim response, unless the final response has begun or the client has left.

        A client that does not read would keep the request waiting, so the response is dropped when no byte of it can be
        sent at once.

        :raises ValueError: see :func:`.http1.interim_response`.
        """
        data = http1.interim_response(status, headers)
        if not (self._responds or self._unsent):
            with suppress(OSError):
                self._unsent = data[send(self.connection, data) :]

    def _write(self, data: bytes) -> None:
        """Send all of the data, after the rest of an interim response.

        :raises OSError: the client has left.
        """
        data, self._unsent = self._unsent + data, b""
        self.wfile.write(data)

    def _begin_response(self, has_end: bool) -> list[tuple[str, str]]:
        """Decide whether the connection stays open (RFC 9112, section 9.3). From now on there is no interim response.

        Both sides must know where the request and the response end.

        :param has_end: whether the client will find the end of the response.
        :returns: the header fields of this server.
        """
        self._responds = True
        self._keeps_open = (
            has_end
            and self._refusal is None
            and self._body.ended
            and self.request_version != "HTTP/1.0"
            and not http1.closes(self.headers)
            and self.server.keeps_connections
        )
        if self._keeps_open:
            connection = [("Connection", "keep-alive"), ("Keep-Alive", f"timeout={IDLE_SECONDS}")]
        else:
            connection = [("Connection", "close")]
        return [("Server", self.version_string()), ("Date", self.date_time_string()), *connection]

    def _drain(self) -> None:
        """End the response, then read on until the client closes the connection.

        To close a connection while its client still sends would reset the connection, and the client could lose the
        response (RFC 9112, section 9.6). Some clients read until the server closes its side, which happens first here.
        """
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            buffer = bytearray(DRAIN_READ_BYTES)
            began = time.monotonic()
            bytes_left = MAX_DRAIN_BYTES
            while bytes_left > 0:
                seconds = DRAIN_SECONDS
                if self.server.stopping:
                    seconds = DRAIN_STOPPING_SECONDS
                    self.rfile.ignore_stop()
                seconds_left = min(began + seconds - time.monotonic(), DRAIN_SILENT_SECONDS)
                if seconds_left <= 0 or not self.rfile.wait(seconds_left):
                    break
                with suppress(BlockingIOError):  # the server's end, and not the client, ended the wait
                    count = receive(self.connection, buffer)
                    if not count:
                        break
                    bytes_left -= count


class TurnAwayHandler(RequestHandler):
    """Responds with 503 to one connection too many, without reading from it."""

    def handle_one_request(self) -> None:
        self._refusal = ServerUnavailable("Too many connections are open. Send the request again in a moment.")
        self.run_wsgi()


class _Body(io.RawIOBase):
    """The body of a request. The first read sends ``100 Continue``, if the client waits for it.

    A read returns the bytes that have arrived, and waits only for the first of them.

    :param source: the body, at its beginning.
    :param go_ahead: sends ``100 Continue``; ``None`` if the client does not wait.
    """

    def __init__(self, source: http1.Body, *, go_ahead: Callable[[], None] | None) -> None:
        self._source = source
        self._go_ahead = go_ahead

    @property
    def ended(self) -> bool:
        """Whether the whole body was read, so that the next byte of the connection begins the next request."""
        return self._source.ended

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._go_ahead:
            self._go_ahead()
            self._go_ahead = None
        return self._source.readinto(buffer)


def _has_closed(connection: socket.socket) -> bool:
    """Return whether the client has closed a connection that does not block. Bytes that have arrived are dropped."""
    try:
        for _ in range(16):  # a fast client could send for ever
            if not connection.recv(DRAIN_READ_BYTES):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False
