"""The local server: it listens, hands requests to the app, and stops without leaving unfinished uploads behind."""

from __future__ import annotations

import io
import socket
import threading
import time
from contextlib import suppress
from email.message import Message
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from . import outcome, wire
from .logs import logger
from .problems import Problem

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIEnvironment

STOP_SECONDS = 5
"""How long requests that no longer wait for their client may take to end, when the server stops."""


class Server(ThreadedWSGIServer):
    """Listens from the moment that it is made.

    :param host: the address to listen on.
    :param port: the port, or 0 for any that is free; :attr:`port` tells which.
    :raises OSError: it cannot listen there.
    """

    stopping = False
    """Whether it is to stop, for signal handlers to set. What they raise instead would meet a request half begun."""

    def __init__(self, host: str, port: int, app: Flask) -> None:
        self._requests: dict[threading.Thread, socket.socket] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Bind first, since Werkzeug explains a busy port in three lines and ends the process itself.
        with socket.create_server((host, port), family=family) as bound:
            super().__init__(host, bound.getsockname()[1], app, RequestHandler, fd=bound.fileno())  # which it copies

    def serve_forever(self, poll_interval: float = 0.2) -> None:
        """Serve until :attr:`stopping`.

        :param poll_interval: how often to look, in seconds.
        """
        self.timeout = poll_interval
        while not self.stopping:
            self.handle_request()
        self.stop()

    def stop(self) -> None:
        """Take no more requests, and let those that there are end: what they still wait for will not come, so that an
        upload is cleared away as if its client had gone."""
        self.stopping = True
        self.server_close()
        requests = self._requests.copy()
        for connection in requests.values():
            with suppress(OSError):  # it ended by itself
                connection.shutdown(socket.SHUT_RD)  # wakes a thread that waits for bytes
        deadline = time.monotonic() + STOP_SECONDS
        for thread in requests:
            thread.join(max(0, deadline - time.monotonic()))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        thread = threading.current_thread()
        self._requests[thread] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._requests[thread]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        logger.exception("fault")


class RequestHandler(WSGIRequestHandler):
    """Reads one request and has the app answer it, also if it cannot be read: so every answer is like every other. The
    app logs it as well, without its path."""

    server: Server
    _refusal: Problem | None = None
    _is_chunked = False
    _is_dated = False

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Incoming(self.connection, self.server))

    def handle_one_request(self) -> None:
        # What stands for a request as long as it could not be read: there is no route to that.
        self.command, self.path, self.request_version = "", "*", "HTTP/1.1"
        self.headers = Message()
        try:
            line = wire.read_line(self.rfile)
            if line is None:
                return
            self.command, self.path, self.request_version = line
            header = wire.read_header(self.rfile, version=line.version)
            self._is_chunked = wire.is_chunked(header, version=line.version)
            self.headers = header
        except Problem as problem:
            self._refusal = problem
        self.run_wsgi()

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()
        if self._refusal:
            environ[outcome.REFUSAL] = self._refusal
        if self._is_chunked:
            # Werkzeug's own, on Python 3.11, hands out memory that nobody wrote to where the client goes in mid-chunk.
            environ["wsgi.input"] = wire.ChunkedBody(self.rfile)
        return environ

    def send_header(self, keyword: str, value: str) -> None:
        # http.server begins each answer with a Date, and what Werkzeug answers under conditions has one of its own.
        if keyword == "Date":
            if self._is_dated:
                return
            self._is_dated = True
        super().send_header(keyword, value)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Incoming(io.RawIOBase):
    """What comes in on a connection. When the server stops it ends, as if the client had closed it. Shutting down the
    socket is not enough: it misses a connection whose thread has just begun, and a client may send faster than is read.
    """

    def __init__(self, connection: socket.socket, server: Server) -> None:
        self._connection = connection
        self._server = server

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return 0 if self._server.stopping else self._connection.recv_into(buffer)
