"""A gate between a client and a server. It can be shut in the middle of a request, and lose a response."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress

CHUNK_BYTES = 256 * 1024
WAIT_SECONDS = 60
"""Only a test that fails waits as long."""

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection, and drops unsent bytes (socket(7))."""


class Gate:
    """Passes TCP connections on, until it is shut.

    :param port: of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._left: int | None = None
        self._held = threading.Event()
        self._released = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._held_client: socket.socket | None = None
        self._lost: set[socket.socket] = set()
        self.requests: list[tuple[str, str]] = []
        """The method and the path of each request that came from a client in a piece of its own."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hold_after(self, size: int) -> None:
        """Let so many bytes more in from clients. The connection that brings the last of them is held; others are
        not."""
        self._held.clear()
        self._released.clear()
        with self._lock:
            self._left = size

    def wait(self) -> None:
        """Until a connection is held."""
        assert self._held.wait(WAIT_SECONDS), "not enough was sent"

    def release(self) -> None:
        """Pass the held bytes on."""
        self._released.set()

    def lose_response(self) -> None:
        """Cut the held connection as soon as the server answers on it. The client does not receive the response."""
        with self._lock:
            assert self._held_client
            self._lost.add(self._held_client)

    def shut(self) -> None:
        """Cut every connection, and let new ones wait."""
        self._open.clear()
        self.cut()

    def open(self, port: int) -> None:
        """Let connections through again, to this port."""
        self._target = port
        self._open.set()

    def cut(self) -> None:
        """Cut every connection, as a network does that goes away."""
        with self._lock:
            self._reset(*self._sockets)
        self._released.set()

    @staticmethod
    def _reset(*connections: socket.socket) -> None:
        for connection in connections:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)  # bytes that are still held are lost

    def close(self) -> None:
        """For good."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        self._open.wait()
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._carry, args=(server, client), daemon=True)
            back.start()
            self._carry(client, server, counted=True)
            back.join()
            with self._lock:
                self._sockets -= {client, server}
                self._lost.discard(client)

    def _carry(self, source: socket.socket, sink: socket.socket, *, counted: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if counted:
                    self._listen(data)
                    if self._is_the_last(len(data)):
                        self._held_client = source
                        self._held.set()
                        self._released.wait()
                elif sink in self._lost:
                    self._reset(source, sink)
                    break
                sink.sendall(data)
        for connection in (source, sink):  # when one side is gone, the other is of no use
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def _listen(self, data: bytes) -> None:
        """Note a request that begins with this piece."""
        if request := _REQUEST.match(data):
            method, path = (part.decode() for part in request.groups())
            with self._lock:
                self.requests.append((method, path))

    def _is_the_last(self, size: int) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= size
            if self._left > 0:
                return False
            self._left = None
            return True
