"""Sends one request many times over several connections, and reports the requests per second as JSON.

A process of its own, so that it does not take the GIL of a server. A connection is used again if the server permits.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from pathlib import Path

_STATUS = re.compile(rb"HTTP/1\.[01] (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Client:
    """One client: it sends the request, waits for the response, and begins again."""

    def __init__(self, port: int, request: memoryview, events: selectors.BaseSelector) -> None:
        self._port = port
        self._request = request
        self._events = events
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._events.register(self._socket, selectors.EVENT_READ, self)

    def begin(self) -> None:
        self._unsent = self._request
        self._received = b""
        self.send()

    def send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._events.get_key(self._socket).events != events:
            self._events.modify(self._socket, events, self)

    def receive(self) -> bool:
        """Read on. Return whether the response is complete.

        :raises RuntimeError: the file was not stored.
        """
        data = self._socket.recv(1 << 16)
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not (blank and length and len(body) >= int(length[1])):
            if not data:
                raise RuntimeError("the server closed the connection before its response")
            return False
        if _STATUS.match(head)[1] != b"201":
            raise RuntimeError(self._received.decode())
        if _CLOSES.search(head):
            self.close()
            self._connect()
        return True

    def close(self) -> None:
        self._events.unregister(self._socket)
        self._socket.close()


def measure(port: int, request: bytes, *, clients: int, requests: int) -> float:
    """Return the requests per second."""
    events = selectors.DefaultSelector()
    everyone = [Client(port, memoryview(request), events) for _ in range(clients)]
    began = time.perf_counter()
    begun = answered = 0
    for client in everyone:
        client.begin()
        begun += 1
    while answered < requests:
        for key, mask in events.select(60):
            client = key.data
            if mask & selectors.EVENT_WRITE:
                client.send()
            if mask & selectors.EVENT_READ and client.receive():
                answered += 1
                if begun < requests:
                    begun += 1
                    client.begin()
    seconds = time.perf_counter() - began
    for client in everyone:
        client.close()
    return requests / seconds


def main() -> None:
    """Answer each line ``{"port": …, "request": file, "clients": n, "requests": n}`` with the requests per second."""
    for line in sys.stdin:
        job = json.loads(line)
        request = Path(job["request"]).read_bytes()
        rate = measure(job["port"], request, clients=job["clients"], requests=job["requests"])
        print(json.dumps(rate), flush=True)


if __name__ == "__main__":
    main()
